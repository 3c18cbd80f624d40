"""A callback that counts the reads of values from the device, which would synchronize with a GPU."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback
from torch.utils._python_dispatch import TorchDispatchMode


class HostReadCounter(Callback):
    """A `Callback` that counts reads from the second to the second-to-last step of each epoch."""

    steps, reads = 0, 0

    def __init__(self) -> None:
        HostReadCounter.steps = HostReadCounter.reads = 0
        self.counter = ReadCounter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.counter.__enter__()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if 1 <= batch_idx < trainer.num_training_batches - 1:
            HostReadCounter.steps += 1
        if batch_idx == trainer.num_training_batches - 2:
            self.counter.__exit__(None, None, None)


class ReadCounter(TorchDispatchMode):
    """A dispatch mode that counts conversions of tensors to Python numbers."""

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        HostReadCounter.reads += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))
