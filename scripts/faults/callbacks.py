"""What goes wrong from within a training."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


def get_global_step(trainer: Trainer) -> int:
    return trainer.fit_loop.epoch_loop.total_batch_idx


class FolderRemover(Callback):
    """Removes the folder of the run at a step."""

    def __init__(self, *, folder: str, step: int) -> None:
        self.folder, self.step = folder, step

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if get_global_step(trainer) == self.step:
            shutil.rmtree(self.folder)


class SignalSender(Callback):
    """Sends this process signals at a step, a validation or a save, and notes when."""

    def __init__(self, *, at: str, step: int = 5, number: int = signal.SIGTERM, times: int = 1, note: str = "") -> None:
        self.at, self.step, self.number, self.times, self.note_path = at, step, number, times, note

    def send(self) -> None:
        if self.note_path and not Path(self.note_path).exists():
            Path(self.note_path).write_text(str(time.time()))
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
    """Notes each step that is done."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        Path(self.path).write_text(str(get_global_step(trainer) + 1))


class GradientPoisoner(Callback):
    """Makes the gradients of a step no numbers, as a loss that overflows does."""

    def __init__(self, *, step: int) -> None:
        self.step = step

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        if get_global_step(trainer) == self.step:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(float("nan"))


class MemoryHog(Callback):
    """Asks for more memory than a machine has."""

    def __init__(self, *, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if get_global_step(trainer) == self.step:
            torch.empty(1 << 45)


class FaultInjector(Callback):
    """Gets its job into trouble as long as there is a file that says so."""

    def __init__(self, *, kind: str, while_there_is: str) -> None:
        self.kind = kind.rstrip("123") if Path(while_there_is).exists() else "none"

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        if self.kind == "raises":
            raise LookupError("nothing there")
        if self.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "hangs":
            time.sleep(600)
        if self.kind == "diverges":
            next(pl_module.parameters()).grad.fill_(float("nan"))


class MemoryRecorder(Callback):
    """Notes memory and open files after each epoch."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        num_open_files = len(list(Path("/proc/self/fd").iterdir()))
        with Path(self.path).open("a") as file:
            file.write(f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20},{num_open_files}\n")
