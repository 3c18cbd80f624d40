"""Count how often the steps of a training read a number back, for which a GPU would have to be waited for."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback
from torch.utils._python_dispatch import TorchDispatchMode


class CountReads(Callback):
    """From the start of an epoch's second step to the end of its last but one."""

    steps, reads = 0, 0

    def __init__(self) -> None:
        CountReads.steps = CountReads.reads = 0
        self.counting = Counting()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.counting.__enter__()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if 1 <= batch_idx < trainer.num_training_batches - 1:
            CountReads.steps += 1
        if batch_idx == trainer.num_training_batches - 2:
            self.counting.__exit__(None, None, None)


class Counting(TorchDispatchMode):
    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        CountReads.reads += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))
