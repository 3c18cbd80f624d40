"""A loss that is no number changes no weight, and ends the run where it happened."""

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from cnn_classifier.errors import DivergedError
from cnn_classifier.storage import write_json

HOW_TO_GO_ON = "lower optimizer.lr or set a warm-up"
STEPS_BETWEEN_LOOKS = 50  # on a GPU, where a look waits for all that was asked of it


class DivergenceGuard(Callback):
    """Looks at the loss and all gradients before each step of the optimiser.

    Where a look waits for nothing, on the CPU, the run ends before that step. A GPU itself skips the step, as torch's
    fused optimisers and ours do where `found_inf` is set (`torch.amp.GradScaler` does the same), and is asked now and
    then.

    Args:
        folder: Of the run; the images of the step are listed there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loss: Tensor | None = None
        self.first: Tensor | None = None  # the first bad step, counted from 0; -1 as long as there is none

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self.loss = loss.detach() if self.loss is None else self.loss + loss.detach()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self.loss is None:
            return
        total, self.loss = self.loss, None
        if not trainer.precision.startswith("16"):  # half precision overflows now and then, and its scaler sees to that
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            total = total + torch.stack(torch._foreach_norm(gradients)).sum() if gradients else total
        bad = ~total.isfinite()
        if not (reading_waits(total.device) and skips(optimizer)):
            if bad:
                self.stop(trainer, trainer.fit_loop.epoch_loop.total_batch_idx)
            return
        self.remember(trainer, bad)
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]

    def remember(self, trainer: Trainer, bad: Tensor) -> None:
        """Note the first bad step on the device, and ask for it now and then."""
        step = trainer.fit_loop.epoch_loop.total_batch_idx
        if self.first is None:
            self.first = torch.full((), -1, device=bad.device)
        self.first = torch.where(bad & (self.first < 0), step, self.first)
        if step % STEPS_BETWEEN_LOOKS == STEPS_BETWEEN_LOOKS - 1:
            self.look(trainer)

    def look(self, trainer: Trainer) -> None:
        first = -1 if self.first is None else int(self.first)
        if first >= 0:
            self.stop(trainer, first)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.look(trainer)
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and not trainer.sanity_checking and not math.isfinite(loss):
            raise DivergedError(f"val/loss is {float(loss)} after epoch {trainer.current_epoch + 1}; {HOW_TO_GO_ON}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.look(trainer)

    def stop(self, trainer: Trainer, step: int) -> None:
        """Name the step and its images, and end the run.

        Raises:
            DivergedError: Always.
        """
        epoch, batch = divmod(step, int(trainer.num_training_batches))
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        images = [str(path) for path in datamodule.files_of(epoch, batch)]
        found = self.folder / "diverged.json"
        if trainer.is_global_zero:
            write_json(found, {"epoch": epoch + 1, "batch": batch + 1, "step": step + 1, "images": images})
        raise DivergedError(
            f"the loss is no number in step {step + 1} (epoch {epoch + 1}, batch {batch + 1}; its images: {found}); "
            f"the weights were not changed; {HOW_TO_GO_ON}"
        )


def reading_waits(device: torch.device) -> bool:
    """Whether to read a value means to wait until the device has done all that was asked of it."""
    return device.type != "cpu"


def skips(optimizer: Optimizer) -> bool:
    """Whether an optimiser heeds `found_inf`."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
