"""Stop training when the loss or a gradient is NaN or infinite, before the weights are updated."""

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from cnn_classifier.errors import DivergedError
from cnn_classifier.files import write_json
from cnn_classifier.lightning_internals import global_batch_index

HINT = "Lower optimizer.lr or add warm-up."
CHECK_EVERY_N_STEPS = 50  # on a GPU, where reading a value synchronizes with the device


class NaNGuard(Callback):
    """A `Callback` that checks the loss and all gradients before each optimizer step.

    On the CPU, training stops before that step. On a GPU, the optimizer skips the step through `found_inf`, as for
    `torch.amp.GradScaler`, and the result is read every 50 steps to avoid synchronization; this requires one of torch's
    fused optimizers or `Muon`.

    Args:
        run_dir: The run directory, where `diverged.json` lists the images of the step.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.accumulated_loss: Tensor | None = None
        self.first_bad_step: Tensor | None = None  # counted from 0; -1 if there is none

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self.accumulated_loss = (
            loss.detach() if self.accumulated_loss is None else self.accumulated_loss + loss.detach()
        )

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self.accumulated_loss is None:
            return
        total, self.accumulated_loss = self.accumulated_loss, None
        if not trainer.precision.startswith("16"):  # float16 gradients may overflow: `GradScaler` skips the step
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            total = total + torch.stack(torch._foreach_norm(gradients)).sum() if gradients else total
        is_nonfinite = ~total.isfinite()
        if not (requires_sync(total.device) and supports_found_inf(optimizer)):
            if is_nonfinite:
                self.stop(trainer, global_batch_index(trainer))
            return
        self.record(trainer, is_nonfinite)
        optimizer.found_inf = is_nonfinite.float()  # type: ignore[attr-defined]

    def record(self, trainer: Trainer, is_nonfinite: Tensor) -> None:
        """Record the first bad step on the device, and read it every `CHECK_EVERY_N_STEPS` steps."""
        step = global_batch_index(trainer)
        if self.first_bad_step is None:
            self.first_bad_step = torch.full((), -1, device=is_nonfinite.device)
        self.first_bad_step = torch.where(is_nonfinite & (self.first_bad_step < 0), step, self.first_bad_step)
        if step % CHECK_EVERY_N_STEPS == CHECK_EVERY_N_STEPS - 1:
            self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Read the recorded step from the device, and stop training if there is one."""
        bad_step = -1 if self.first_bad_step is None else int(self.first_bad_step)
        if bad_step >= 0:
            self.stop(trainer, bad_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(trainer)
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and not trainer.sanity_checking and not math.isfinite(loss):
            raise DivergedError(f"val/loss is {float(loss)} after epoch {trainer.current_epoch + 1}. {HINT}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check(trainer)

    def stop(self, trainer: Trainer, step: int) -> None:
        """Write `diverged.json` and stop training.

        Args:
            trainer: The `Trainer`.
            step: The index of the batch, counted from 0 over all epochs.

        Raises:
            DivergedError: Always.
        """
        epoch, batch = divmod(step, int(trainer.num_training_batches))
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        loader = datamodule.build_loader("train", sampler=datamodule.config.sampler)
        loader.sampler.set_epoch(epoch)
        images = [str(datamodule.splits["train"][index].path) for index in loader.batch_indices()[batch]]
        report_path = self.run_dir / "diverged.json"
        if trainer.is_global_zero:
            write_json(report_path, {"epoch": epoch + 1, "batch": batch + 1, "step": step + 1, "images": images})
        raise DivergedError(
            f"Loss is NaN or infinite at step {step + 1} (epoch {epoch + 1}, batch {batch + 1}; images listed in "
            f"{report_path}). Weights were not updated. {HINT}"
        )


def requires_sync(device: torch.device) -> bool:
    """Return whether reading a value synchronizes with the device."""
    return device.type != "cpu"


def supports_found_inf(optimizer: Optimizer) -> bool:
    """Return whether an optimizer skips its step if `found_inf` is set."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
