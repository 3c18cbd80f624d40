"""Faults while a training runs, and rows that tests of their own stand for: R20 to R22 and R30 to R42."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from workload import FaultResult, checkpoint_digest, run, train_arguments

from cnn_classifier.training.checkpoints import read_checkpoint

# Rows that the tests show as they are; each test makes its data in sight.
TESTS_BY_FAULT = {
    "R20 checkpoints of earlier formats": "tests/test_sealed.py -k format",
    "R21 32 odd kinds of image files": "tests/data/test_odd_images.py tests/test_odd_images_everywhere.py",
    "R22 damaged bytes of every format": "tests/data/test_preprocess.py tests/serve/test_uploads.py -k damaged",
    "R31 processes that decode die": "tests/data/test_parallel.py",
    "R34 trackers that fail": "tests/test_guarded.py",
    "R35 words and files that cannot be meant": "tests/test_malformed.py",
    "R41, R42 code in checkpoints, graphs, configurations": "tests/test_nothing_runs.py",
}


def r30_no_number(images: Path, workdir: Path) -> FaultResult:
    """The gradients of step 13 are no numbers; what looking for that costs."""
    run_dir = workdir / "r30"
    poison = "+callbacks.poison={_target_:callbacks.GradientPoisoner,step:12}"
    code = run(train_arguments(images, run_dir, poison), workdir / "r30.log")
    is_named = "step 13 (epoch 2, batch 5; its images:" in (workdir / "r30.log").read_text()
    weights = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["state_dict"].values()
    is_finite = all(bool(torch.isfinite(weight).all()) for weight in weights)
    detail = f"its images {'named' if is_named else 'not named'}, last.ckpt {'good' if is_finite else 'bad'}"
    figure = f"exit {code} at that step, {detail}; to look costs {measure_check_cost():.2f} % of a step"
    return FaultResult("R30 gradients are no numbers", figure, code == 6 and is_named and is_finite)


def measure_check_cost() -> float:
    """What norm and sum of all gradients take, in per cent of a step of the default network at 128 px (n=15)."""
    from cnn_classifier.models.resnet import ResNet

    network = ResNet(num_classes=2, channels=3, image_size=128, widths=[48, 96, 192, 384])
    images, labels = torch.randn(64, 3, 128, 128), torch.zeros(64, dtype=torch.int64)
    step_times, check_times = [], []
    for _ in range(15):
        start_time = time.perf_counter()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        middle_time = time.perf_counter()
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        bool(torch.stack(torch._foreach_norm(gradients)).sum().isfinite())
        step_times.append(middle_time - start_time)
        check_times.append(time.perf_counter() - middle_time)
    return 100 * statistics.median(check_times) / statistics.median(step_times)


def r32_out_of_memory(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """The allocator refuses in step 13; then it does not."""
    run_dir = workdir / "r32"
    code = run(
        train_arguments(images, run_dir, "+callbacks.greedy={_target_:callbacks.MemoryHog,step:12}"),
        workdir / "r32.log",
    )
    line = (workdir / "r32.log").read_text().strip().splitlines()[-1]
    is_advised = line.startswith("error: not enough memory for dataset.batch_size=7") and "dataset.batch_size=3" in line
    exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "r32.log")
    is_same = exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
    figure = f"exit {code}, {'smaller batches advised' if is_advised else line}; goes on to "
    figure += "the bytes of a whole run" if is_same else "other bytes"
    return FaultResult("R32 out of memory", figure, code == 2 and is_advised and is_same)


def r33_three_hundred_epochs(images: Path, workdir: Path) -> FaultResult:
    """The slope of memory over the last half of the epochs."""
    note, epochs = workdir / "memory.csv", 300
    override = f"+callbacks.memory={{_target_:callbacks.MemoryRecorder,path:'{note}'}}"
    code = run(train_arguments(images, workdir / "r33", override, f"trainer.max_epochs={epochs}"), workdir / "log")
    memory, open_files = np.loadtxt(note, delimiter=",").T
    half = len(memory) // 2
    slope = float(np.polyfit(np.arange(half), memory[-half:], 1)[0])
    is_steady = open_files[-1] <= open_files[half]
    figure = f"exit {code}; {slope:+.3f} MB an epoch, open files {int(open_files[half])} -> {int(open_files[-1])}"
    return FaultResult(f"R33 {epochs} epochs", figure, code == 0 and slope < 0.1 and bool(is_steady))


def run_covering_tests() -> list[FaultResult]:
    rows, test = [], [sys.executable, "-m", "pytest", "--verbosity=0", "--no-header", "--numprocesses", "2"]
    for fault, tests in TESTS_BY_FAULT.items():
        start_time = time.perf_counter()
        result = subprocess.run([*test, *tests.split()], capture_output=True, text=True, check=False)
        counts = re.findall(r"(\d+) (passed|failed|skipped|error)", result.stdout)
        figure = ", ".join(f"{count} {outcome}" for count, outcome in counts) or f"exit {result.returncode}"
        seconds = time.perf_counter() - start_time
        rows.append(FaultResult(fault, f"{figure} in {seconds:.0f} s ({tests})", result.returncode == 0))
    return rows
