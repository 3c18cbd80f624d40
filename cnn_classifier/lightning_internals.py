"""Private attributes of Lightning, used in this module only, so that an upgrade of Lightning breaks one place.

Written for Lightning 2.6. Each function says what the public API lacks.
"""

import math

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import AveragedModel


def num_batches_done(trainer: Trainer) -> int:
    """Return the number of batches of the current epoch that were processed before a resume.

    Lightning restores the position within an epoch, but does not pass it to the loader.
    """
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)


def global_batch_index(trainer: Trainer) -> int:
    """Return the index of the current training batch, counted from 0 over all epochs.

    `trainer.global_step` counts optimizer steps, which are fewer with gradient accumulation.
    """
    return int(trainer.fit_loop.epoch_loop.total_batch_idx)


def count_train_batches(trainer: Trainer) -> int | float:
    """Return the number of training batches per epoch, also within `configure_optimizers`.

    `trainer.num_training_batches` is infinite there until the training loader is set up.
    """
    trainer.fit_loop.setup_data()
    return trainer.num_training_batches


def count_epochs(trainer: Trainer) -> int:
    """Return the number of epochs that `max_epochs` and `max_steps` allow together, 0 without such a limit.

    `trainer.max_epochs` ignores `max_steps`, and is -1 or None without a limit.
    """
    limits = [trainer.max_epochs] if trainer.max_epochs is not None and trainer.max_epochs > 0 else []
    if trainer.max_steps > 0 and math.isfinite(num_batches := count_train_batches(trainer)):
        limits.append(math.ceil(trainer.max_steps / math.ceil(num_batches / trainer.accumulate_grad_batches)))
    return min(limits, default=0)


def set_max_epochs(trainer: Trainer, max_epochs: int) -> None:
    """Change the number of epochs of a run; the public attribute is read-only."""
    trainer.fit_loop.max_epochs = max_epochs


def is_accumulating(trainer: Trainer) -> bool:
    """Return whether the current batch only accumulates gradients, without an optimizer step."""
    return bool(trainer.fit_loop._should_accumulate())


def get_average_model(callback: WeightAveraging) -> AveragedModel | None:
    """Return the averaged copy of the module that a `WeightAveraging` callback keeps, None before `setup`."""
    return callback._average_model


def set_average_device(callback: WeightAveraging, device: torch.device) -> None:
    """Set the device of the averaged copy before `setup`.

    The constructor takes a device, but the `Trainer` chooses it later.
    """
    callback._device = device
