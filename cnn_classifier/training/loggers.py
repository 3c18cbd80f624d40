"""Loggers whose failures do not stop the training."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from cnn_classifier.config.instantiate import instantiate
from cnn_classifier.errors import ConfigError, root_cause, single_line
from cnn_classifier.files import cache_dir, file_lock


def build_loggers(nodes: Mapping[str, Mapping[str, Any] | None]) -> list[Logger]:
    """Build the configured loggers. One that cannot reach its server or folder is reported and left out.

    Args:
        nodes: The `logger` group of the configuration.

    Raises:
        ConfigError: If an argument is invalid, or a package is not installed.
    """
    loggers: list[Logger] = []
    for node in nodes.values():
        if node is None:
            continue
        try:
            with tracker_lock():
                loggers.append(FaultTolerantLogger(instantiate(node, Logger)))
        except ConfigError as error:
            if error.__cause__ is None or isinstance(error.__cause__, TypeError | ValueError | ImportError):
                raise
            report_failure(str(node["_target_"]).rpartition(".")[2], error.__cause__)
    return loggers


def log_test_metrics(loggers: list[Logger], metrics: Mapping[str, float], step: int) -> None:
    """Log the metrics of the test split and finish the loggers' runs."""
    for logger in loggers:
        logger.log_metrics({f"test/{name}": value for name, value in metrics.items()}, step)
        logger.save()
        if isinstance(logger, FaultTolerantLogger):
            logger.finish("success")


def tracker_lock() -> AbstractContextManager[None]:
    """Return a lock for the creation of a tracker's client, which parallel jobs would do at the same time."""
    return file_lock(cache_dir() / "tracker")


@rank_zero_only
def report_failure(logger_name: str, error: BaseException) -> None:
    """Print that a logger is disabled, with the error that the logger itself may have hidden behind another one."""
    cause = root_cause(error)
    message = f"{type(cause).__name__}: {single_line(cause)[:200]}"
    print(f"{logger_name} failed and is disabled for the rest of the run ({message})", file=sys.stderr)


class FaultTolerantLogger(Logger):
    """A `Logger` that forwards all calls to another logger until that logger fails.

    The first failure is printed, and later calls are ignored, so that training continues without the logger. The
    connection is made under a lock, since parallel jobs would otherwise create a tracker's database at the same time.

    Args:
        logger: The Lightning logger to wrap.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger, self.disabled, self.initialized = logger, False, False

    def _forward(self, call: Callable[[Logger], Any]) -> Any:
        """Return the result of a call with the logger, None if the logger fails or has failed before."""
        if self.disabled:
            return None
        try:
            if not self.initialized:
                with tracker_lock():
                    getattr(self.logger, "experiment", None)  # connects to the tracker
                self.initialized = True
            return call(self.logger)
        except Exception as error:  # clients of trackers raise exceptions of any type
            self.disabled = True
            report_failure(type(self.logger).__name__, error)
            return None

    def _call(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of the logger, given as a dotted name."""
        self._forward(lambda logger: attrgetter(method)(logger)(*args, **kwargs))

    def _get(self, name: str) -> Any:
        """Return a property of the logger."""
        return self._forward(attrgetter(name))

    @property
    def name(self) -> str | None:
        return self._get("name")

    @property
    def version(self) -> int | str | None:
        return self._get("version")

    @property
    def save_dir(self) -> str | None:
        return self._get("save_dir")

    @property
    def log_dir(self) -> str | None:
        return self._get("log_dir")

    @property
    def experiment(self) -> Any:
        """The run object of the tracker's client."""
        return self._get("experiment")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._call("log_metrics", metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._call("log_hyperparams", params, *args, **kwargs)

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        self._call("log_graph", *args, **kwargs)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._call("after_save_checkpoint", checkpoint_callback)

    def save(self) -> None:
        self._call("save")

    def finalize(self, status: str) -> None:
        self._call("finalize", status)
        if status != "success":  # otherwise `finish` is called after the test
            self.finish(status)

    def finish(self, status: str) -> None:
        """End the run of Weights & Biases, which the next job of a sweep would otherwise continue."""
        if hasattr(self.experiment, "finish"):
            self._call("experiment.finish", exit_code=int(status != "success"))
