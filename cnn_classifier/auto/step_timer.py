"""Training steps of a copy of a network on random images, to see how long they take."""

import hashlib
import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from cnn_classifier.errors import StorageError
from cnn_classifier.files import ensure_writable_dir, write_json
from cnn_classifier.training.devices import MEMORY_FORMATS

PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
MIN_TIMING_SECONDS, MAX_TIMED_STEPS = 2.0, 20  # that each way is tried for, and at least two steps
# Below this gain float32 is kept: numbers that are less exact must pay.
MIN_SPEEDUP = 1.1
# How strongly images are changed, or how much is dropped; steps take as long.
FLOAT = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Execution:
    """How the steps of a training are computed.

    Args:
        precision: As Lightning's Trainer names it.
        layout: `channels_last` or `contiguous`.
        compile: Whether the network is compiled.
    """

    precision: str
    memory_format: str
    compile: bool

    def __str__(self) -> str:
        return f"{self.precision}, {self.memory_format.replace('_', ' ')}{', compiled' * self.compile}"


@dataclass(frozen=True)
class Timing:
    """A choice, the seconds of a step, and those before the first."""

    execution: Execution
    seconds_per_step: float
    startup_seconds: float = 0.0

    def total_seconds(self, num_steps: int) -> float:
        """The seconds of a run, float32 being given a start."""
        return (self.startup_seconds + self.seconds_per_step * num_steps) * (
            MIN_SPEEDUP if self.execution.precision != "32-true" else 1
        )


class StepTimer:
    """What is tried of a network: on a copy, made when it is needed first.

    Args:
        network: It is left as it is.
        device: Where.
        batch_shape: Of a batch of images, (B, C, H, W).
        make_optimizer: Gives an optimiser for the copy, whose step is timed, too.
        augment: Changes images (B, C, H, W) and labels in every step; it is timed, too.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        batch_shape: Sequence[int],
        make_optimizer: Callable[[nn.Module], Optimizer] | None = None,
        augment: nn.Module | None = None,
    ) -> None:
        self.network, self.device, self.batch_shape, self.augment = network, device, batch_shape, augment
        self.make_optimizer = make_optimizer

    @cached_property
    def copy(self) -> nn.Module:
        """What the steps are made with."""
        return deepcopy(self.network).to(self.device).train()

    @cached_property
    def optimizer(self) -> Optimizer | None:
        """Of the copy."""
        return self.make_optimizer(self.copy) if self.make_optimizer is not None else None

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Random images (B, C, H, W), and labels of the network's classes (B,)."""
        images = torch.rand(*self.batch_shape, device=self.device)
        with torch.no_grad():
            num_classes = self.copy(images).shape[1]
        return images, torch.arange(len(images), device=self.device) % num_classes

    def measure(
        self,
        precision: str,
        memory_format: str,
        *,
        max_step_seconds: float = float("inf"),
        duration: float = MIN_TIMING_SECONDS,
    ) -> float:
        """The usual time of a step: forward, backward and the optimiser's.

        Args:
            precision: One of `PRECISIONS`.
            layout: One of `LAYOUTS`.
            limit: A way whose second step takes longer, or whose first one four times as long, is given up.
            lasting: How many seconds to try; two are a tenth off now and then, twelve half of that (measured).
        """
        self.set_memory_format(memory_format)
        warmup_seconds = self.time_step(precision)  # what is made once, such as an algorithm's choice, does not count
        if warmup_seconds > 4 * max_step_seconds:
            return warmup_seconds
        step_seconds: list[float] = []
        max_steps = MAX_TIMED_STEPS * duration / MIN_TIMING_SECONDS
        while len(step_seconds) < 2 or (sum(step_seconds) < duration and len(step_seconds) < max_steps):
            step_seconds.append(self.time_step(precision))
            if step_seconds[0] > max_step_seconds:
                break
        return statistics.median(step_seconds[len(step_seconds) // 2 :])  # the first ones are slower by a fifth

    def set_memory_format(self, memory_format: str) -> None:
        """Keep weights and images in memory in this order."""
        self.memory_format = MEMORY_FORMATS[memory_format]
        self.copy.to(memory_format=self.memory_format)

    def compile(self, precision: str, memory_format: str) -> float:
        """Compile the copy; the seconds until its first step is done."""
        self.set_memory_format(memory_format)
        self.copy.compile()
        return self.time_step(precision)

    def time_step(self, precision: str) -> float:
        """The seconds of one step."""
        images, labels = self.batch
        start_time = time.perf_counter()
        dtype = PRECISIONS.get(precision, torch.float32)  # of others the time is a guess
        if self.augment is not None:
            images, labels = self.augment(images, labels)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = functional.cross_entropy(self.copy(images.to(memory_format=self.memory_format)), labels)
        loss.backward()
        if self.optimizer is not None:
            self.optimizer.step(loss.detach().item)  # some ask for the loss
        self.copy.zero_grad()
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter() - start_time


def timing_key(timer: StepTimer, requested: Mapping[str, Any]) -> str:
    """What a trial is remembered by: network, batch, changes, machine and versions."""
    device_type = timer.device.type
    key_parts = [
        FLOAT.sub("", str(timer.network)),
        sum(parameter.numel() for parameter in timer.network.parameters() if parameter.requires_grad),
        list(timer.batch_shape),
        FLOAT.sub("", str(timer.augment)),
        {key: requested.get(key) for key in ("precision", "memory_format", "compile", "optimizer")},
        torch.__version__,
        torch.get_num_threads(),
        describe_processor()
        if device_type == "cpu"
        else torch.cuda.get_device_name()
        if device_type == "cuda"
        else device_type,
    ]
    return hashlib.sha256(json.dumps(key_parts).encode()).hexdigest()[:32]


def describe_processor() -> str:
    """The name of the CPU and what it can do."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags"))))
    return platform.processor() or platform.machine()


def load_timings(path: Path) -> list[Timing]:
    """An earlier trial; nothing if there was none."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Timing(Execution(**row["execution"]), row["seconds_per_step"], row["startup_seconds"]) for row in rows]
    return []


def save_timings(path: Path, timings: Sequence[Timing]) -> None:
    with suppress(OSError, StorageError):  # then the next run tries again
        ensure_writable_dir(path.parent)
        write_json(path, [asdict(timing) for timing in timings])
