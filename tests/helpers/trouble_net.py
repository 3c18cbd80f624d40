"""A network that gets into trouble when asked to, unless `NO_TROUBLE` is set."""

import os
import signal
import time

from helpers.pooling_net import PoolingNet
from torch import Tensor


class TroubleNet(PoolingNet):
    def __init__(self, *, trouble: str = "none", **more: int) -> None:
        super().__init__(**more)
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
