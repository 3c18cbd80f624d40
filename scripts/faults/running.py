"""Faults during training (R30, R32, R33), and faults that tests cover (R20 to R22, R31, R34, R35, R41, R42)."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from workload import FaultResult, checkpoint_digest, read_error, run, train_arguments

from cnn_classifier.training.checkpoints import read_checkpoint

# The pytest arguments of faults that are covered by tests.
TESTS_BY_FAULT = {
    "R20 checkpoints of earlier formats": "tests/training/test_checkpoints.py -k format",
    "R21 32 unusual kinds of image files": "tests/data/images",
    "R22 damaged files of every format": "tests/data/images/test_odd_images.py tests/serve/test_uploads.py -k damaged",
    "R31 decoding processes that die": "tests/data/test_parallel.py",
    "R34 failing experiment trackers": "tests/training/test_loggers.py",
    "R35 invalid overrides and files": "tests/config/test_schema.py",
    "R41, R42 code in checkpoints, graphs and configs": "tests/test_security.py",
}


def inject_nan_gradients(images: Path, workdir: Path) -> FaultResult:
    """Set the gradients of step 13 to NaN, and measure the cost of the check for it."""
    run_dir = workdir / "r30"
    poison = "+callbacks.poison={_target_:callbacks.GradientPoisoner,step:12}"
    code = run(train_arguments(images, run_dir, poison), workdir / "r30.log")
    is_named = "step 13 (epoch 2, batch 5; images listed in" in (workdir / "r30.log").read_text()
    weights = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["state_dict"].values()
    is_finite = all(bool(torch.isfinite(weight).all()) for weight in weights)
    detail = f"images {'reported' if is_named else 'not reported'}, last.ckpt {'finite' if is_finite else 'not finite'}"
    figure = f"exit code {code} at that step, {detail}; the check costs {measure_check_cost():.2f} % of a step"
    return FaultResult("R30 NaN gradients", figure, code == 6 and is_named and is_finite)


def measure_check_cost() -> float:
    """Return the time of the gradient check in percent of a step of the default network at 128 px (n=15)."""
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


def exhaust_memory(images: Path, workdir: Path, expected_digest: str) -> FaultResult:
    """Let an allocation fail in step 13, then resume."""
    run_dir = workdir / "r32"
    code = run(
        train_arguments(images, run_dir, "+callbacks.hog={_target_:callbacks.MemoryHog,step:12}"),
        workdir / "r32.log",
    )
    line = read_error(workdir / "r32.log")
    is_advised = line.startswith("error: Not enough memory for dataset.batch_size=7") and "dataset.batch_size=3" in line
    exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "r32.log")
    is_same = exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
    figure = (
        f"exit code {code}, {'smaller batch size suggested' if is_advised else line}; "
        f"resumed run {'identical' if is_same else 'different'}"
    )
    return FaultResult("R32 out of memory", figure, code == 2 and is_advised and is_same)


def train_300_epochs(images: Path, workdir: Path) -> FaultResult:
    """Measure the growth of memory and open files over the second half of 300 epochs."""
    path = workdir / "memory.csv"
    override = f"+callbacks.memory={{_target_:callbacks.MemoryRecorder,path:'{path}'}}"
    code = run(train_arguments(images, workdir / "r33", override, "trainer.max_epochs=300"), workdir / "log")
    memory, open_files = np.loadtxt(path, delimiter=",").T
    half = len(memory) // 2
    slope = float(np.polyfit(np.arange(half), memory[-half:], 1)[0])
    is_steady = open_files[-1] <= open_files[half]
    figure = f"exit code {code}; {slope:+.3f} MB per epoch, open files {int(open_files[half])} -> {int(open_files[-1])}"
    return FaultResult("R33 300 epochs", figure, code == 0 and slope < 0.1 and bool(is_steady))


def run_covering_tests() -> list[FaultResult]:
    """Run the tests of `TESTS_BY_FAULT`."""
    rows, test = [], [sys.executable, "-m", "pytest", "--verbosity=0", "--no-header", "--numprocesses", "2"]
    for fault, tests in TESTS_BY_FAULT.items():
        start_time = time.perf_counter()
        result = subprocess.run([*test, *tests.split()], capture_output=True, text=True, check=False)
        counts = re.findall(r"(\d+) (passed|failed|skipped|error)", result.stdout)
        figure = ", ".join(f"{count} {outcome}" for count, outcome in counts) or f"exit code {result.returncode}"
        seconds = time.perf_counter() - start_time
        rows.append(FaultResult(fault, f"{figure} in {seconds:.0f} s ({tests})", result.returncode == 0))
    return rows
