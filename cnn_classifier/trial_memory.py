"""What trials found on this machine, kept so that the next training with the same network need not repeat them."""

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.errors import StorageError
from cnn_classifier.storage import ensure_writable_dir, write_json
from cnn_classifier.trial import Execution, StepTimer, Timing

# How strongly images are changed, or how much is dropped; steps take as long.
FLOAT = re.compile(r"\d+\.\d+")


def timing_key(timer: StepTimer, requested: Mapping[str, Any]) -> str:
    """What a trial is remembered by: network, batch, changes, machine and versions."""
    device_type = timer.device.type
    key_parts = [
        FLOAT.sub("", str(timer.network)),
        sum(parameter.numel() for parameter in timer.network.parameters() if parameter.requires_grad),
        list(timer.batch_shape),
        FLOAT.sub("", str(timer.augment)),
        {key: requested.get(key) for key in ("precision", "layout", "compile", "optimizer")},
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
