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
from cnn_classifier.storage import make_folder, write_json
from cnn_classifier.trial import Choice, Measured, Trial

# How strongly images are changed, or how much is dropped; steps take as long.
STRENGTH = re.compile(r"\d+\.\d+")


def name_of(trial: Trial, asked: Mapping[str, Any]) -> str:
    """What a trial is remembered by: network, batch, changes, machine and versions."""
    kind = trial.device.type
    what = [
        STRENGTH.sub("", str(trial.network)),
        sum(parameter.numel() for parameter in trial.network.parameters() if parameter.requires_grad),
        list(trial.batch_shape),
        STRENGTH.sub("", str(trial.augment)),
        {key: asked.get(key) for key in ("precision", "layout", "compile", "optimizer")},
        torch.__version__,
        torch.get_num_threads(),
        processor() if kind == "cpu" else torch.cuda.get_device_name() if kind == "cuda" else kind,
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def processor() -> str:
    """The name of the CPU and what it can do."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags"))))
    return platform.processor() or platform.machine()


def recall(path: Path) -> list[Measured]:
    """An earlier trial; nothing if there was none."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Measured(Choice(**row["choice"]), row["step"], row["start"]) for row in rows]
    return []


def remember(path: Path, measured: Sequence[Measured]) -> None:
    with suppress(OSError, StorageError):  # then the next run tries again
        make_folder(path.parent)
        write_json(path, [asdict(tried) for tried in measured])
