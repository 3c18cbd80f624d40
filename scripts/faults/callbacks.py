"""Callbacks that inject faults into a training, or record its progress."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


def get_global_step(trainer: Trainer) -> int:
    """Return the index of the current training step over all epochs."""
    return trainer.fit_loop.epoch_loop.total_batch_idx


class FolderRemover(Callback):
    """A `Callback` that deletes the run directory at a given step."""

    def __init__(self, *, folder: str, step: int) -> None:
        self.folder, self.step = folder, step

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if get_global_step(trainer) == self.step:
            shutil.rmtree(self.folder)


class SignalSender(Callback):
    """A `Callback` that sends signals to this process and records the time.

    Args:
        at: When to send: at the `start` of training, in a `step`, a `validation` or a `save`.
        step: The index of the step over all epochs, for `step`.
        number: The number of the signal.
        times: The number of signals to send.
        time_path: A file to write the time of the first signal to; empty for none.
    """

    def __init__(
        self, *, at: str, step: int = 5, number: int = signal.SIGTERM, times: int = 1, time_path: str = ""
    ) -> None:
        self.at, self.step, self.number, self.times, self.time_path = at, step, number, times, time_path

    def send(self) -> None:
        if self.time_path and not Path(self.time_path).exists():
            Path(self.time_path).write_text(str(time.time()))
        for _ in range(self.times):
            os.kill(os.getpid(), self.number)
        self.times = 0

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        if self.at == "start":
            self.send()

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self.at == "step" and get_global_step(trainer) == self.step:
            self.send()

    def on_validation_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self.at == "validation":
            self.send()

    def on_save_checkpoint(self, *args: Any) -> None:
        if self.at == "save":
            self.send()


class StepRecorder(Callback):
    """A `Callback` that writes the number of completed steps to a file."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        Path(self.path).write_text(str(get_global_step(trainer) + 1))


class GradientPoisoner(Callback):
    """A `Callback` that sets all gradients of a step to NaN, as a loss that overflows does."""

    def __init__(self, *, step: int) -> None:
        self.step = step

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        if get_global_step(trainer) == self.step:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(float("nan"))


class MemoryHog(Callback):
    """A `Callback` that tries to allocate 128 TiB at a given step."""

    def __init__(self, *, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if get_global_step(trainer) == self.step:
            torch.empty(1 << 45)


class FaultInjector(Callback):
    """A `Callback` that makes its job fail as long as a trigger file exists.

    Args:
        kind: The failure: `none`, `raises`, `killed`, `hangs` or `diverges`; a final digit is ignored.
        trigger_path: The path of the trigger file.
    """

    def __init__(self, *, kind: str, trigger_path: str) -> None:
        self.kind = kind.rstrip("123") if Path(trigger_path).exists() else "none"

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        if self.kind == "raises":
            raise LookupError("injected error")
        if self.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "hangs":
            time.sleep(600)
        if self.kind == "diverges":
            next(pl_module.parameters()).grad.fill_(float("nan"))


class MemoryRecorder(Callback):
    """A `Callback` that appends the resident memory in MiB and the number of open files to a CSV file each epoch."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        num_open_files = len(list(Path("/proc/self/fd").iterdir()))
        with Path(self.path).open("a") as file:
            file.write(f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20},{num_open_files}\n")
