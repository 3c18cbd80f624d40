"""The training run that faults are injected into: 72 small images, three epochs of eight steps, one or two seconds."""

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
from PIL import Image

from cnn_classifier.cli.main import main
from cnn_classifier.report.charts import figures
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
    """The result of one fault.

    Args:
        fault: The id and description of the fault.
        figure: The measured outcome.
        passed: Whether the outcome is the expected one.
        stock: The outcome for a stock Lightning script; empty if it was not measured.
    """

    fault: str
    figure: str
    passed: bool
    stock: str = ""


def make_images(root: Path) -> Path:
    """Write images of two classes, noise around two colors: 56 for training, 8 each for validation and test."""
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
    """Return the command-line arguments of a training; the given overrides replace the defaults."""
    defaults = [
        override
        for override in DEFAULT_OVERRIDES
        if not any(other.partition("=")[0] == override.partition("=")[0] for other in overrides)
    ]
    return ["train", *defaults, f"dataset.root={images}", f"run_dir={run_dir}", *overrides]


def start(command: Sequence[str], log: Path, setup: SetupFn | None = None) -> int:
    """Run a `cnn-classifier` command in a fork of this process, where torch is already imported; return its pid."""
    return start_function(lambda: main(list(command)), log, setup)


def start_function(function: Callable[[], Any], log: Path, setup: SetupFn | None = None) -> int:
    """Run a function in a fork of this process and return its pid.

    Args:
        function: The function; its return value is the exit code of the fork.
        log: The file for the output of the fork.
        setup: A function to call in the fork first.
    """
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
        figures.save_png = lambda figure, path: None  # figures only cost time
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
    """Return the exit code of a fork, or the negative number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(command: Sequence[str], log: Path, setup: SetupFn | None = None) -> int:
    """Run a `cnn-classifier` command in a fork and return its exit code."""
    return wait(start(command, log, setup))


def kill_after(pid: int, seconds: float) -> int:
    """Kill a fork after a number of seconds, unless it has ended, and return its exit code."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return wait(pid)


def checkpoint_digest(run_dir: Path) -> str:
    """Return the SHA-256 of all values of the last checkpoint, apart from times and paths."""
    content = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    return hashlib.sha256(
        to_canonical_bytes({key: value for key, value in content.items() if key != "hyper_parameters"})
    ).hexdigest()


def read_error(log: Path) -> str:
    """Return the last error line of a log, an empty string if there is none."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("error:")]
    return lines[-1] if lines else ""


def has_intact_checkpoints(run_dir: Path) -> bool:
    """Check that every checkpoint can be read, except hidden files of interrupted writes.

    Returns:
        True.

    Raises:
        CheckpointError: If a checkpoint is damaged.
    """
    for path in (run_dir / "checkpoints").glob("[!.]*.ckpt"):
        read_checkpoint(path)
    return True


def count_completed_steps(run_dir: Path) -> int:
    """Return the global step of the last checkpoint; 0 if there is none."""
    path = run_dir / "checkpoints" / "last.ckpt"
    return int(read_checkpoint(path)["global_step"]) if path.exists() else 0
