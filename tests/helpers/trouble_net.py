"""A network that fails on purpose during training, unless the environment variable `NO_TROUBLE` is set."""

import os
import signal
import time

from helpers.pooling_net import PoolingNet
from torch import Tensor


class TroubleNet(PoolingNet):
    """A network with a failure mode.

    Args:
        trouble: The failure mode: `none`, `is killed`, `hangs`, `is slow` or `diverges`.
        **kwargs: The arguments of `PoolingNet`.
    """

    def __init__(self, *, trouble: str = "none", **kwargs: int) -> None:
        super().__init__(**kwargs)
        self.trouble = "none" if "NO_TROUBLE" in os.environ else trouble

    def forward(self, images: Tensor) -> Tensor:
        if self.training and self.trouble == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.training and self.trouble == "hangs":
            print("hanging", flush=True)
            time.sleep(600)
        if self.training and self.trouble == "is slow":
            print("slow", flush=True)
            time.sleep(0.1)
        logits = super().forward(images)
        return logits * float("nan") if self.training and self.trouble == "diverges" else logits
