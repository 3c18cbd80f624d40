"""Faults of disks and file writes: R1 and R3 to R9."""

import os
import re
import resource
import shutil
import statistics
import subprocess
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import stock
import torch
from injected import KILL_POINTS, kill_during_copy, kill_during_file_write, use_temp_dir
from workload import (
    FaultResult,
    checkpoint_digest,
    has_intact_checkpoints,
    read_error,
    run,
    start_function,
    train_arguments,
    wait,
)

from cnn_classifier.errors import CheckpointError
from cnn_classifier.files import atomic_write
from cnn_classifier.training.checkpoints import read_checkpoint, save_with_checksum


def kill_during_write(images: Path, workdir: Path, expected_digest: str, *, full: bool) -> FaultResult:
    """Kill a run with SIGKILL while it writes a checkpoint, and resume it."""
    fault = "R1 SIGKILL during a checkpoint write"
    return measure_kills_during_write(fault, images, workdir, expected_digest, full=full)


def kill_during_write_across_disks(images: Path, workdir: Path, expected_digest: str, *, full: bool) -> FaultResult:
    """Repeat `kill_during_write` with a temporary directory on another disk.

    Stock Lightning writes its checkpoints to the temporary directory and copies them.
    """
    fault = "R7 as R1, with the temporary directory on another disk"
    other_disk = Path("/dev/shm")
    if not other_disk.is_dir():
        return FaultResult(fault, "not run: /dev/shm does not exist", passed=True)
    with use_temp_dir(other_disk):
        row = measure_kills_during_write(fault, images, workdir, expected_digest, full=full)
        offsets = range(1000, 100_000, 5000 if full else 50_000)
        num_lost = 0  # the second version of last.ckpt is the fourth copy
        for number, offset in enumerate(offsets):
            folder = workdir / f"stock{number}"
            train, setup = partial(stock.train, images, folder), partial(kill_during_copy, 4, offset)
            wait(start_function(train, workdir / "stock.log", setup))
            num_lost += not can_load(folder / "last.ckpt")
    stock_figure = f"last.ckpt unreadable after {num_lost} of {len(offsets)} kills"
    return FaultResult(fault, row.figure, row.passed, stock_figure)


def can_load(path: Path) -> bool:
    """Return whether `torch.load` can read a file."""
    with suppress(Exception):
        torch.load(path, weights_only=False)
        return True
    return False


def measure_kills_during_write(
    fault: str, images: Path, workdir: Path, expected_digest: str, *, full: bool
) -> FaultResult:
    """Kill runs at many points of the second write of `last.ckpt`, and resume them."""
    size = 60_000
    points: list[int | str] = (
        [*(round(size * step / 64) for step in range(64)), *KILL_POINTS] if full else [size // 2, "after"]
    )
    num_good = 0
    for number, point in enumerate(points):
        run_dir = workdir / f"write{number}"
        run(train_arguments(images, run_dir), workdir / "log", partial(kill_during_file_write, "last.ckpt", 2, point))
        is_intact = has_intact_checkpoints(run_dir) and (run_dir / "checkpoints" / "last.ckpt").exists()
        exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "log")
        num_good += is_intact and exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
        shutil.rmtree(run_dir)
    return FaultResult(fault, f"{num_good} of {len(points)} runs resume and are identical", num_good == len(points))


def measure_sync_cost(workdir: Path) -> FaultResult:
    """Measure the time of a 10 MB write with and without `fsync`."""
    content = os.urandom(10_000_000)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(15):
        for sync in (True, False):
            start_time = time.perf_counter()
            atomic_write(workdir / "file", content, sync=sync)
            times[sync].append(1000 * (time.perf_counter() - start_time))
    with_sync, without_sync = (statistics.median(times[sync]) for sync in (True, False))
    figure = (
        f"file, rename, directory in this order (tests/training/test_checkpoints.py); {with_sync:.0f} ms, "
        f"without sync {without_sync:.0f} ms"
    )
    return FaultResult("R3 power failure: order of writes, 10 MB (n=15)", figure, passed=True)


def fill_run_disk(images: Path, workdir: Path, *, full: bool) -> FaultResult:
    """Train into small disks that have space for only a few checkpoints."""
    fault = "R4 disk full in the run directory"
    sizes = range(96, 296, 20) if full else (256,)
    num_good, exit_codes = 0, set()
    for number, size in enumerate(sizes):
        disk = workdir / f"disk{number}"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=False).returncode:
            return FaultResult(
                fault, "not run: mounting a small disk requires root (R6 uses a file size limit instead)", passed=True
            )
        try:
            run_dir = disk / "run"
            code = run(train_arguments(images, run_dir), workdir / f"full{number}.log")
            line = read_error(workdir / f"full{number}.log")
            num_good += code == 5 and ("bytes" in line or "Cannot" in line) and has_intact_checkpoints(run_dir)
            exit_codes.add(code)
        finally:
            subprocess.run(["umount", disk], check=True)
    return FaultResult(
        fault,
        f"{num_good} of {len(sizes)} sizes: exit code {sorted(exit_codes)}, earlier checkpoints intact",
        num_good == len(sizes),
    )


def fill_temp_disk(images: Path, workdir: Path) -> FaultResult:
    """Train with a temporary directory on a full disk."""
    fault = "R5 disk full in the temporary directory"
    disk = workdir / "tmp"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        return FaultResult(fault, "not run: mounting a small disk requires root", passed=True)
    try:
        with use_temp_dir(disk):
            code = run(train_arguments(images, workdir / "r5"), workdir / "log")
            pid = start_function(lambda: stock.train(images, workdir / "stock"), workdir / "stock.log")
            stock_exit_code = wait(pid)
    finally:
        subprocess.run(["umount", disk], check=True)
    return FaultResult(fault, f"exit code {code}, not affected", code == 0, stock=f"exit code {stock_exit_code}")


def limit_file_size(images: Path, workdir: Path) -> FaultResult:
    """Train with a limit on the size of files."""

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code = run(train_arguments(images, workdir / "r6"), workdir / "r6.log", set_limit)
    line = read_error(workdir / "r6.log")
    size, reason = re.findall(r"\(([\d,]+ bytes)\): ([^.]+)\.", line)[0]
    return FaultResult("R6 file size limit", f"exit code {code}: {reason}, {size}", code == 5)


def block_run_dir(images: Path, workdir: Path) -> FaultResult:
    """Train into directories that cannot be created, and remove the run directory during training."""
    (workdir / "file").touch()
    codes, seconds = [], []
    for folder in (workdir / "file" / "run", Path("/proc/run")):
        start_time = time.perf_counter()
        codes.append(run(train_arguments(images, folder), workdir / "r8.log"))
        seconds.append(time.perf_counter() - start_time)
    run_dir = workdir / "removed"
    override = f"+callbacks.remover={{_target_:callbacks.FolderRemover,folder:'{run_dir}',step:5}}"
    exit_code = run(train_arguments(images, run_dir, override), workdir / "r8.log")
    is_recreated = has_intact_checkpoints(run_dir) and (run_dir / "checkpoints" / "last.ckpt").exists()
    figure = (
        f"cannot be created: exit codes {codes} after {max(seconds):.1f} s; "
        f"removed at step 5: exit code {exit_code}, created again"
    )
    passed = codes == [5, 5] and exit_code == 0 and is_recreated
    return FaultResult("R8 run directory not writable, or removed", figure, passed)


def damage_checkpoint(workdir: Path, *, full: bool) -> FaultResult:
    """Load checkpoints with a flipped byte, a missing end or no content."""
    path = workdir / "damaged.ckpt"
    weights = {"weight": torch.randn(100, 100), "bias": torch.randn(100)}
    save_with_checksum(
        path, {"state_dict": weights, "hyper_parameters": {}, "cnn_classifier": {"format": 2, "version": "0"}}
    )
    original = path.read_bytes()
    num_flips, num_cuts = (200, 50) if full else (20, 5)
    offsets = [len(original) * number // num_flips for number in range(num_flips)]
    damaged = [original[:offset] + bytes([original[offset] ^ 1]) + original[offset + 1 :] for offset in offsets]
    damaged += [original[: len(original) * number // num_cuts] for number in range(num_cuts)] + [b""]
    num_rejected = num_rejected_by_torch = 0
    for content in damaged:
        path.write_bytes(content)
        with suppress(CheckpointError):
            read_checkpoint(path)
            continue
        num_rejected += 1
    for content in damaged:
        path.write_bytes(content)
        num_rejected_by_torch += not can_load(path)
    return FaultResult(
        "R9 flipped byte, truncated file",
        f"{num_rejected} of {len(damaged)} files rejected",
        num_rejected == len(damaged),
        stock=f"torch.load rejects {num_rejected_by_torch} of {len(damaged)}",
    )
