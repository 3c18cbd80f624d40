"""A loss that is no number changes no weight, and ends the run where it happened."""

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from cnn_classifier.errors import DivergedError
from cnn_classifier.files import write_json

HINT = "lower optimizer.lr or set a warm-up"
CHECK_EVERY_N_STEPS = 50  # on a GPU, where a look waits for all that was asked of it


class NaNGuard(Callback):
    """Looks at the loss and all gradients before each step of the optimiser.

    Where a look waits for nothing, on the CPU, the run ends before that step. A GPU itself skips the step, as torch's
    fused optimisers and ours do where `found_inf` is set (`torch.amp.GradScaler` does the same), and is asked now and
    then.

    Args:
        folder: Of the run; the images of the step are listed there.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.accumulated_loss: Tensor | None = None
        self.first_bad_step: Tensor | None = None  # the first bad step, counted from 0; -1 as long as there is none

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self.accumulated_loss = (
            loss.detach() if self.accumulated_loss is None else self.accumulated_loss + loss.detach()
        )

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self.accumulated_loss is None:
            return
        total, self.accumulated_loss = self.accumulated_loss, None
        if not trainer.precision.startswith("16"):  # half precision overflows now and then, and its scaler sees to that
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            total = total + torch.stack(torch._foreach_norm(gradients)).sum() if gradients else total
        is_nonfinite = ~total.isfinite()
        if not (requires_sync(total.device) and supports_found_inf(optimizer)):
            if is_nonfinite:
                self.stop(trainer, trainer.fit_loop.epoch_loop.total_batch_idx)
            return
        self.record(trainer, is_nonfinite)
        optimizer.found_inf = is_nonfinite.float()  # type: ignore[attr-defined]

    def record(self, trainer: Trainer, is_nonfinite: Tensor) -> None:
        """Note the first bad step on the device, and ask for it now and then."""
        step = trainer.fit_loop.epoch_loop.total_batch_idx
        if self.first_bad_step is None:
            self.first_bad_step = torch.full((), -1, device=is_nonfinite.device)
        self.first_bad_step = torch.where(is_nonfinite & (self.first_bad_step < 0), step, self.first_bad_step)
        if step % CHECK_EVERY_N_STEPS == CHECK_EVERY_N_STEPS - 1:
            self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        bad_step = -1 if self.first_bad_step is None else int(self.first_bad_step)
        if bad_step >= 0:
            self.stop(trainer, bad_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(trainer)
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and not trainer.sanity_checking and not math.isfinite(loss):
            raise DivergedError(f"val/loss is {float(loss)} after epoch {trainer.current_epoch + 1}; {HINT}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(trainer)

    def stop(self, trainer: Trainer, step: int) -> None:
        """Name the step and its images, and end the run.

        Raises:
            DivergedError: Always.
        """
        epoch, batch = divmod(step, int(trainer.num_training_batches))
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        images = [str(path) for path in datamodule.files_of(epoch, batch)]
        report_path = self.run_dir / "diverged.json"
        if trainer.is_global_zero:
            write_json(report_path, {"epoch": epoch + 1, "batch": batch + 1, "step": step + 1, "images": images})
        raise DivergedError(
            f"the loss is no number in step {step + 1} (epoch {epoch + 1}, batch {batch + 1}; its images: {report_path}); "
            f"the weights were not changed; {HINT}"
        )


def requires_sync(device: torch.device) -> bool:
    """Whether to read a value means to wait until the device has done all that was asked of it."""
    return device.type != "cpu"


def supports_found_inf(optimizer: Optimizer) -> bool:
    """Whether an optimiser heeds `found_inf`."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
