"""A logger that may fail: a tracker that cannot be reached must not end a training."""

import sys
from operator import attrgetter
from typing import Any

from lightning.pytorch.loggers import Logger


class Guarded(Logger):
    """Passes everything on, until the other logger fails; that is told once, and the training goes on without it.

    Args:
        logger: Any of Lightning's.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger, self.is_lost = logger, False

    def attempt(self, action: str, *args: Any, **named: Any) -> None:
        """Call a method of the logger, or of a part of it, unless it has failed before."""
        if self.is_lost:
            return
        try:
            attrgetter(action)(self.logger)(*args, **named)
        except Exception as error:  # whatever a tracker's client raises
            self.is_lost = True
            told = " ".join(str(error).split())[:200]
            name = type(self.logger).__name__
            print(f"{name} failed and is left out from here on ({type(error).__name__}: {told})", file=sys.stderr)

    def told(self, name: str) -> Any:
        """A property of the logger; None if it fails."""
        try:
            return None if self.is_lost else getattr(self.logger, name)
        except Exception:  # of a server that is asked for it
            return None

    @property
    def name(self) -> str | None:
        return self.told("name")

    @property
    def version(self) -> int | str | None:
        return self.told("version")

    @property
    def save_dir(self) -> str | None:
        return self.told("save_dir")

    @property
    def log_dir(self) -> str | None:
        return self.told("log_dir")

    @property
    def experiment(self) -> Any:
        """What the tracker's client calls a run."""
        return self.told("experiment")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.attempt("log_metrics", metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **named: Any) -> None:
        self.attempt("log_hyperparams", params, *args, **named)

    def log_graph(self, *args: Any, **named: Any) -> None:
        self.attempt("log_graph", *args, **named)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self.attempt("after_save_checkpoint", checkpoint_callback)

    def save(self) -> None:
        self.attempt("save")

    def finalize(self, status: str) -> None:
        self.attempt("finalize", status)
        if hasattr(self.experiment, "finish"):  # Weights & Biases' run would go on into the next job of a sweep
            self.attempt("experiment.finish", exit_code=int(status != "success"))
