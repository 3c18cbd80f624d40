"""A logger that may fail: a tracker that cannot be reached must not end a training."""

import sys
from operator import attrgetter
from typing import Any

from lightning.pytorch.loggers import Logger

from cnn_classifier.errors import single_line


class FaultTolerantLogger(Logger):
    """Passes everything on, until the other logger fails; that is told once, and the training goes on without it.

    Args:
        logger: Any of Lightning's.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger, self.disabled = logger, False

    def _call(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of the logger, or of a part of it, unless it has failed before."""
        if self.disabled:
            return
        try:
            attrgetter(method)(self.logger)(*args, **kwargs)
        except Exception as error:  # whatever a tracker's client raises
            self.disabled = True
            message = single_line(error)[:200]
            logger_name = type(self.logger).__name__
            print(
                f"{logger_name} failed and is left out from here on ({type(error).__name__}: {message})",
                file=sys.stderr,
            )

    def _get(self, name: str) -> Any:
        """A property of the logger; None if it fails."""
        try:
            return None if self.disabled else getattr(self.logger, name)
        except Exception:  # of a server that is asked for it
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
        """What the tracker's client calls a run."""
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
        if hasattr(self.experiment, "finish"):  # Weights & Biases' run would go on into the next job of a sweep
            self._call("experiment.finish", exit_code=int(status != "success"))
