"""Timing of training steps on random images, and the cache of these timings."""

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
from math import inf
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
MIN_TIMING_SECONDS, MAX_TIMED_STEPS = 2.0, 20  # per execution; at least two steps are timed
MIN_SPEEDUP = 1.1  # smallest speedup for which a lower precision is selected
# Fractions in the description of a network, such as dropout or augmentation strength, do not affect the step time.
FLOAT = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Execution:
    """The way in which training steps are computed.

    Args:
        precision: The `trainer.precision`, such as `32-true`.
        memory_format: The `compute.memory_format`: `channels_last` or `contiguous`.
        compile: `True` if the network is compiled.
    """

    precision: str
    memory_format: str
    compile: bool

    def __str__(self) -> str:
        return f"{self.precision}, {self.memory_format.replace('_', ' ')}{', compiled' * self.compile}"


@dataclass(frozen=True)
class Timing:
    """An execution with the durations of a training step and of the compilation before the first, in seconds."""

    execution: Execution
    seconds_per_step: float
    startup_seconds: float = 0.0

    def total_seconds(self, num_steps: int) -> float:
        """Return the duration of a run in seconds, multiplied by `MIN_SPEEDUP` for lower precisions."""
        return (self.startup_seconds + self.seconds_per_step * num_steps) * (
            MIN_SPEEDUP if self.execution.precision != "32-true" else 1
        )


class StepTimer:
    """A timer of training steps, on a copy of a network that is created on first use.

    Args:
        network: The network, which is not modified.
        device: The device of the training steps.
        batch_shape: The shape of a batch of images, (N, C, H, W).
        make_optimizer: A function that creates an optimizer for a network; its step is timed, too.
        augment: A module that augments images (N, C, H, W) and labels (N,) in each step; it is timed, too.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        batch_shape: Sequence[int],
        make_optimizer: Callable[[nn.Module], Optimizer] | None = None,
        augment: nn.Module | None = None,
    ) -> None:
        self.network, self.device, self.batch_shape = network, device, batch_shape
        self.make_optimizer, self.augment = make_optimizer, augment

    @cached_property
    def copy(self) -> nn.Module:
        """The copy of the network."""
        return deepcopy(self.network).to(self.device).train()

    @cached_property
    def optimizer(self) -> Optimizer | None:
        """The optimizer of the copy."""
        return self.make_optimizer(self.copy) if self.make_optimizer is not None else None

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Random images (N, C, H, W) and labels (N,)."""
        images = torch.rand(*self.batch_shape, device=self.device)
        with torch.no_grad():
            num_classes = self.copy(images).shape[1]
        return images, torch.arange(len(images), device=self.device) % num_classes

    def measure(
        self, precision: str, memory_format: str, *, max_step_seconds: float = inf, duration: float = MIN_TIMING_SECONDS
    ) -> float:
        """Return the median duration of a training step in seconds.

        Args:
            precision: The `trainer.precision`.
            memory_format: A key of `MEMORY_FORMATS`.
            max_step_seconds: A limit in seconds. Timing stops if the first step exceeds four times the limit, or the
                second step exceeds the limit.
            duration: The duration of the timing in seconds; 2 s are sometimes wrong by 10 %, 12 s by 5 % (measured).
        """
        self.set_memory_format(memory_format)
        warmup_seconds = self.time_step(precision)  # excludes one-time costs such as algorithm selection
        if warmup_seconds > 4 * max_step_seconds:
            return warmup_seconds
        step_seconds: list[float] = []
        max_steps = MAX_TIMED_STEPS * duration / MIN_TIMING_SECONDS
        while len(step_seconds) < 2 or (sum(step_seconds) < duration and len(step_seconds) < max_steps):
            step_seconds.append(self.time_step(precision))
            if step_seconds[0] > max_step_seconds:
                break
        return statistics.median(step_seconds[len(step_seconds) // 2 :])  # the first steps are slower by a fifth

    def set_memory_format(self, memory_format: str) -> None:
        """Set the memory format of weights and images."""
        self.memory_format = MEMORY_FORMATS[memory_format]
        self.copy.to(memory_format=self.memory_format)

    def compile(self, precision: str, memory_format: str) -> float:
        """Compile the copy; return the duration of compilation and first step in seconds."""
        self.set_memory_format(memory_format)
        self.copy.compile()
        return self.time_step(precision)

    def time_step(self, precision: str) -> float:
        """Return the duration of one training step in seconds."""
        images, labels = self.batch
        start_time = time.perf_counter()
        dtype = PRECISIONS.get(precision, torch.float32)  # an approximation for other precisions
        if self.augment is not None:
            images, labels = self.augment(images, labels)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = functional.cross_entropy(self.copy(images.to(memory_format=self.memory_format)), labels)
        loss.backward()
        if self.optimizer is not None:
            self.optimizer.step(loss.detach().item)  # some optimizers require a closure
        self.copy.zero_grad()
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter() - start_time


def timing_key(timer: StepTimer, requested: Mapping[str, Any]) -> str:
    """Return the cache key of timings: a hash of network, batch, augmentation, machine and versions."""
    key_parts = [
        FLOAT.sub("", str(timer.network)),
        sum(parameter.numel() for parameter in timer.network.parameters() if parameter.requires_grad),
        list(timer.batch_shape),
        FLOAT.sub("", str(timer.augment)),
        {key: requested.get(key) for key in ("precision", "memory_format", "compile", "optimizer")},
        torch.__version__,
        torch.get_num_threads(),
        describe_device(timer.device),
    ]
    return hashlib.sha256(json.dumps(key_parts).encode()).hexdigest()[:32]


def describe_device(device: torch.device) -> str:
    """Return the name of a device, for a CPU with its feature flags."""
    if device.type != "cpu":
        return torch.cuda.get_device_name() if device.type == "cuda" else device.type
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags"))))
    return platform.processor() or platform.machine()


def load_timings(path: Path) -> list[Timing]:
    """Load cached timings; return an empty list if there are none or the file is damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Timing(Execution(**row["execution"]), row["seconds_per_step"], row["startup_seconds"]) for row in rows]
    return []


def save_timings(path: Path, timings: Sequence[Timing]) -> None:
    """Cache timings in a JSON file; a file that cannot be written is ignored."""
    with suppress(OSError, StorageError):
        ensure_writable_dir(path.parent)
        write_json(path, [asdict(timing) for timing in timings])
