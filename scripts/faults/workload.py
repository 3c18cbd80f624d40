"""The training that everything is done to: 64 small pictures, three epochs of eight steps, a second or two."""

import hashlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fingerprint import to_canonical_bytes
from matplotlib.figure import Figure
from PIL import Image

from cnn_classifier.cli.main import main
from cnn_classifier.training.checkpoints import read_checkpoint

EPOCHS, STEPS, BATCH = 3, 8, 7
DEFAULT_OVERRIDES = [
    "dataset=folder",
    "dataset.image_size=16",
    f"dataset.batch_size={BATCH}",
    "model.widths=[8,16]",
    "model.stem_stride=1",
    "model.dropout=0.3",
    "trainer=cpu",
    "dataset.train_sizes=null",
    f"trainer.max_epochs={EPOCHS}",
]
SetupFn = Callable[[], None]


@dataclass(frozen=True)
class FaultResult:
    """What came of a fault.

    Args:
        fault: Its number and what was done.
        figure: What was measured.
        passed: Whether that is what is promised.
        stock: The same done to a stock Lightning script.
    """

    fault: str
    figure: str
    passed: bool
    stock: str = ""


def make_images(root: Path) -> Path:
    """Two classes of noise around two colours: 56 to train with, 8 to validate and test."""
    for label, color in enumerate(((190, 60, 50), (50, 70, 190))):
        for split, count in (("train", 28), ("val", 4), ("test", 4)):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                noise = np.random.default_rng([label, index, len(split)]).integers(-40, 40, (32, 32, 3))
                pixels = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return root


def train_arguments(images: Path, run_dir: Path, *overrides: str) -> list[str]:
    """Of a training's command; later words win, so that a fault can change what it likes."""
    defaults = [
        override
        for override in DEFAULT_OVERRIDES
        if not any(other.partition("=")[0] == override.partition("=")[0] for other in overrides)
    ]
    return ["train", *defaults, f"dataset.root={images}", f"run_dir={run_dir}", *overrides]


def start(command: Sequence[str], log: Path, setup: SetupFn | None = None) -> int:
    """Run a command of ours in a fork of this process, which has everything imported; its process number."""
    return start_function(lambda: main(list(command)), log, setup)


def start_function(function: Callable[[], Any], log: Path, setup: SetupFn | None = None) -> int:
    """Run a function in a fork; what it returns is the exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        Figure.savefig = lambda *arguments, **more: None  # type: ignore[method-assign]  # no fault is about pictures
        if setup is not None:
            setup()
        code = int(function() or 0)
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int) -> int:
    """The exit code of a fork; the negative number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(command: Sequence[str], log: Path, setup: SetupFn | None = None) -> int:
    return wait(start(command, log, setup))


def kill_after(pid: int, seconds: float) -> int:
    """Kill a fork some time after it began, unless it has ended before."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return wait(pid)


def checkpoint_digest(run_dir: Path) -> str:
    """Of all that the last checkpoint holds, apart from times and paths."""
    content = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    return hashlib.sha256(
        to_canonical_bytes({key: value for key, value in content.items() if key != "hyper_parameters"})
    ).hexdigest()


def has_intact_checkpoints(run_dir: Path) -> bool:
    """Whether every checkpoint that there is can be read; hidden ones are of writes that were cut off."""
    for path in (run_dir / "checkpoints").glob("[!.]*.ckpt"):
        read_checkpoint(path)
    return True


def count_completed_steps(run_dir: Path) -> int:
    """How many steps the last checkpoint has done; 0 without one."""
    path = run_dir / "checkpoints" / "last.ckpt"
    return int(read_checkpoint(path)["global_step"]) if path.exists() else 0
