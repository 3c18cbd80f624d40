"""Faults while a training runs, and rows that tests of their own stand for: R20 to R22 and R30 to R42."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from workload import Row, digest, run, words

from cnn_classifier.checkpoint import read_checkpoint

# Rows that the tests show as they are; each test makes its data in sight.
BY_TESTS = {
    "R20 checkpoints of earlier formats": "tests/test_sealed.py -k format",
    "R21 32 odd kinds of image files": "tests/data/test_odd_images.py tests/test_odd_images_everywhere.py",
    "R22 damaged bytes of every format": "tests/data/test_preprocess.py tests/serve/test_uploads.py -k damaged",
    "R31 processes that decode die": "tests/data/test_parallel.py",
    "R34 trackers that fail": "tests/test_guarded.py",
    "R35 words and files that cannot be meant": "tests/test_malformed.py",
    "R41, R42 code in checkpoints, graphs, configurations": "tests/test_nothing_runs.py",
}


def r30_no_number(images: Path, place: Path) -> Row:
    """The gradients of step 13 are no numbers; what looking for that costs."""
    run_dir = place / "r30"
    poison = "+callbacks.poison={_target_:callbacks.Poison,step:12}"
    code = run(words(images, run_dir, poison), place / "r30.log")
    named = "step 13 (epoch 2, batch 5; its images:" in (place / "r30.log").read_text()
    weights = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["state_dict"].values()
    finite = all(bool(torch.isfinite(weight).all()) for weight in weights)
    told = f"its images {'named' if named else 'not named'}, last.ckpt {'good' if finite else 'bad'}"
    figure = f"exit {code} at that step, {told}; to look costs {looking():.2f} % of a step"
    return Row("R30 gradients are no numbers", figure, code == 6 and named and finite)


def looking() -> float:
    """What norm and sum of all gradients take, in per cent of a step of the default network at 128 px (n=15)."""
    from cnn_classifier.models.resnet import ResNet

    network = ResNet(num_classes=2, channels=3, image_size=128, widths=[48, 96, 192, 384])
    images, labels = torch.randn(64, 3, 128, 128), torch.zeros(64, dtype=torch.int64)
    steps, looks = [], []
    for _ in range(15):
        begin = time.perf_counter()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        middle = time.perf_counter()
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        bool(torch.stack(torch._foreach_norm(gradients)).sum().isfinite())
        steps.append(middle - begin)
        looks.append(time.perf_counter() - middle)
    return 100 * statistics.median(looks) / statistics.median(steps)


def r32_out_of_memory(images: Path, place: Path, whole: str) -> Row:
    """The allocator refuses in step 13; then it does not."""
    run_dir = place / "r32"
    code = run(words(images, run_dir, "+callbacks.greedy={_target_:callbacks.Greedy,step:12}"), place / "r32.log")
    line = (place / "r32.log").read_text().strip().splitlines()[-1]
    advised = line.startswith("error: not enough memory for dataset.batch_size=7") and "dataset.batch_size=3" in line
    ended = run(words(images, run_dir, "resume=auto"), place / "r32.log")
    same = ended == 0 and digest(run_dir) == whole
    figure = f"exit {code}, {'smaller batches advised' if advised else line}; goes on to "
    figure += "the bytes of a whole run" if same else "other bytes"
    return Row("R32 out of memory", figure, code == 2 and advised and same)


def r33_three_hundred_epochs(images: Path, place: Path) -> Row:
    """The slope of memory over the last half of the epochs."""
    note, epochs = place / "memory.csv", 300
    watch = f"+callbacks.memory={{_target_:callbacks.Memory,path:'{note}'}}"
    code = run(words(images, place / "r33", watch, f"trainer.max_epochs={epochs}"), place / "log")
    memory, opened = np.loadtxt(note, delimiter=",").T
    half = len(memory) // 2
    slope = float(np.polyfit(np.arange(half), memory[-half:], 1)[0])
    same = opened[-1] <= opened[half]
    figure = f"exit {code}; {slope:+.3f} MB an epoch, open files {int(opened[half])} -> {int(opened[-1])}"
    return Row(f"R33 {epochs} epochs", figure, code == 0 and slope < 0.1 and bool(same))


def shown_by_tests() -> list[Row]:
    rows, test = [], [sys.executable, "-m", "pytest", "--verbosity=0", "--no-header", "--numprocesses", "2"]
    for fault, tests in BY_TESTS.items():
        begin = time.perf_counter()
        done = subprocess.run([*test, *tests.split()], capture_output=True, text=True, check=False)
        counts = re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)
        figure = ", ".join(f"{count} {what}" for count, what in counts) or f"exit {done.returncode}"
        seconds = time.perf_counter() - begin
        rows.append(Row(fault, f"{figure} in {seconds:.0f} s ({tests})", done.returncode == 0))
    return rows
