"""A logger wrapper that prevents failures of an experiment tracker from stopping the training."""

import sys
from operator import attrgetter
from typing import Any

from lightning.pytorch.loggers import Logger

from cnn_classifier.errors import single_line


class FaultTolerantLogger(Logger):
    """A `Logger` that forwards all calls to another logger until that logger fails.

    The first failure is printed, and later calls are ignored, so that training continues without the logger.

    Args:
        logger: The Lightning logger to wrap.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger, self.disabled = logger, False

    def _call(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of the logger, given as a dotted name, unless the logger has failed before."""
        if self.disabled:
            return
        try:
            attrgetter(method)(self.logger)(*args, **kwargs)
        except Exception as error:  # clients of trackers raise exceptions of any type
            self.disabled = True
            message = single_line(error)[:200]
            logger_name = type(self.logger).__name__
            print(
                f"{logger_name} failed and is disabled for the rest of the run ({type(error).__name__}: {message})",
                file=sys.stderr,
            )

    def _get(self, name: str) -> Any:
        """Return a property of the logger, None if it raises."""
        try:
            return None if self.disabled else getattr(self.logger, name)
        except Exception:  # the property may query a server
            return None

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
        if hasattr(
            self.experiment, "finish"
        ):  # a Weights & Biases run would otherwise continue in the next job of a sweep
            self._call("experiment.finish", exit_code=int(status != "success"))
