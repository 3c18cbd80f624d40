"""Executions of training steps, their durations, and the cache of these durations."""

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.auto.step_timer import StepTimer
from cnn_classifier.errors import StorageError
from cnn_classifier.files import ensure_writable_dir, write_json

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


def timing_key(timer: StepTimer, requested: Mapping[str, Any]) -> str:
    """Return the cache key of timings: a hash of network, batch, augmentation, machine and versions."""
    key_parts = [
        FLOAT.sub("", str(timer.network)),
        sum(parameter.numel() for parameter in timer.network.parameters() if parameter.requires_grad),
        [*timer.batch_shape, timer.num_parts],
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
