"""Faults of disks and of writes: R1 and R3 to R9."""

import os
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
from injected import KILL_POINTS, kill_within_copy, kill_within_write, use_temp_dir
from workload import FaultResult, checkpoint_digest, has_intact_checkpoints, run, start_function, train_arguments, wait

from cnn_classifier.errors import CheckpointError
from cnn_classifier.files import atomic_write
from cnn_classifier.training.checkpoints import read_checkpoint, save_with_checksum


def r1_killed_within_a_write(images: Path, workdir: Path, expected_digest: str, *, full: bool) -> FaultResult:
    return measure_kills_within_write(
        "R1 kill -9 within a write of a checkpoint", images, workdir, expected_digest, full=full
    )


def r7_killed_within_a_write_across_disks(
    images: Path, workdir: Path, expected_digest: str, *, full: bool
) -> FaultResult:
    """Stock Lightning stages its checkpoints in the temporary folder and copies them."""
    other_disk = Path("/dev/shm")
    if not other_disk.is_dir():
        return FaultResult(
            "R7 the same, the temporary folder on another disk", "not run: there is no /dev/shm", passed=True
        )
    with use_temp_dir(other_disk):
        row = measure_kills_within_write(
            "R7 the same, the temporary folder on another disk", images, workdir, expected_digest, full=full
        )
        offsets = range(1000, 100_000, 5000 if full else 50_000)
        num_lost = 0  # of last.ckpt, whose second version is the fourth copy
        for number, offset in enumerate(offsets):
            folder = workdir / f"stock{number}"
            train, setup = partial(stock.train, images, folder), partial(kill_within_copy, 4, offset)
            wait(start_function(train, workdir / "stock.log", setup))
            num_lost += not can_load(folder / "last.ckpt")
    return FaultResult(
        row.fault, row.figure, row.passed, stock=f"last.ckpt cannot be read after {num_lost} of {len(offsets)}"
    )


def can_load(path: Path) -> bool:
    with suppress(Exception):
        torch.load(path, weights_only=False)
        return True
    return False


def measure_kills_within_write(
    fault: str, images: Path, workdir: Path, expected_digest: str, *, full: bool
) -> FaultResult:
    """The second checkpoint is being written, the first one is there."""
    size = 60_000
    points: list[int | str] = (
        [*(round(size * step / 64) for step in range(64)), *KILL_POINTS] if full else [size // 2, "after"]
    )
    num_good = 0
    for number, point in enumerate(points):
        run_dir = workdir / f"write{number}"
        run(train_arguments(images, run_dir), workdir / "log", partial(kill_within_write, "last.ckpt", 2, point))
        has_survived = has_intact_checkpoints(run_dir) and (run_dir / "checkpoints" / "last.ckpt").exists()
        exit_code = run(train_arguments(images, run_dir, "resume=auto"), workdir / "log")
        num_good += has_survived and exit_code == 0 and checkpoint_digest(run_dir) == expected_digest
        shutil.rmtree(run_dir)
    return FaultResult(
        fault, f"{num_good} of {len(points)} go on, and end with the bytes of a whole run", num_good == len(points)
    )


def r3_what_it_costs_to_be_sure(workdir: Path) -> FaultResult:
    """A checkpoint of 10 MB, in turns with and without waiting for the disk."""
    content = os.urandom(10_000_000)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(15):
        for sync in (True, False):
            start_time = time.perf_counter()
            atomic_write(workdir / "file", content, sync=sync)
            times[sync].append(1000 * (time.perf_counter() - start_time))
    with_sync, without_sync = (statistics.median(times[sync]) for sync in (True, False))
    figure = (
        f"file, name, folder in this order (tests/test_sealed.py); {with_sync:.0f} ms, not synced {without_sync:.0f} ms"
    )
    return FaultResult("R3 power cut: the order of writes, 10 MB (n=15)", figure, passed=True)


def r4_full_disk(images: Path, workdir: Path, *, full: bool) -> FaultResult:
    """A disk with room for a few checkpoints' worth, then for less and less."""
    fault = "R4 disk full in the run's folder"
    sizes = range(96, 296, 20) if full else (256,)
    num_good, exit_codes = 0, set()
    for number, size in enumerate(sizes):
        disk = workdir / f"disk{number}"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=False).returncode:
            return FaultResult(
                fault, "not run: mounting a small disk is not allowed here (R6 does it by a limit)", passed=True
            )
        try:
            run_dir = disk / "run"
            code = run(train_arguments(images, run_dir), workdir / f"full{number}.log")
            line = (workdir / f"full{number}.log").read_text().strip().splitlines()[-1]
            num_good += code == 5 and ("bytes" in line or "cannot" in line) and has_intact_checkpoints(run_dir)
            exit_codes.add(code)
        finally:
            subprocess.run(["umount", disk], check=True)
    return FaultResult(
        fault,
        f"{num_good} of {len(sizes)} sizes: exit {sorted(exit_codes)}, the checkpoints that were there are whole",
        num_good == len(sizes),
    )


def r5_full_temporary_folder(images: Path, workdir: Path) -> FaultResult:
    fault = "R5 disk full in the temporary folder"
    disk = workdir / "tmp"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        return FaultResult(fault, "not run: mounting a small disk is not allowed here", passed=True)
    try:
        with use_temp_dir(disk):
            code = run(train_arguments(images, workdir / "r5"), workdir / "log")
            stock_exit_code = wait(
                start_function(lambda: stock.train(images, workdir / "stock"), workdir / "stock.log")
            )
    finally:
        subprocess.run(["umount", disk], check=True)
    return FaultResult(fault, f"exit {code}, unaffected", code == 0, stock=f"exit {stock_exit_code}")


def r6_file_size_limit(images: Path, workdir: Path) -> FaultResult:
    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code = run(train_arguments(images, workdir / "r6"), workdir / "r6.log", set_limit)
    line = (workdir / "r6.log").read_text().strip().splitlines()[-1]
    return FaultResult("R6 a file may not grow", f"exit {code}: {line.partition('(')[2].partition(')')[0]}", code == 5)


def r8_no_place_to_write(images: Path, workdir: Path) -> FaultResult:
    """A file in place of a folder, a disk that is read-only; and a folder that vanishes in the middle."""
    (workdir / "file").touch()
    codes, seconds = [], []
    for folder in (workdir / "file" / "run", Path("/proc/run")):
        start_time = time.perf_counter()
        codes.append(run(train_arguments(images, folder), workdir / "r8.log"))
        seconds.append(time.perf_counter() - start_time)
    run_dir = workdir / "gone"
    override = f"+callbacks.vanish={{_target_:callbacks.FolderRemover,folder:'{run_dir}',step:5}}"
    exit_code = run(train_arguments(images, run_dir, override), workdir / "r8.log")
    is_remade = has_intact_checkpoints(run_dir) and (run_dir / "checkpoints" / "last.ckpt").exists()
    figure = f"no folder can be made: exit {codes} after {max(seconds):.1f} s; removed at step 5: exit {exit_code}, made anew"
    return FaultResult(
        "R8 the run's folder cannot be written, or is removed", figure, codes == [5, 5] and exit_code == 0 and is_remade
    )


def r9_bit_rot(workdir: Path, *, full: bool) -> FaultResult:
    """A byte flipped, an end cut off, an empty file."""
    path = workdir / "rot.ckpt"
    weights = {"weight": torch.randn(100, 100), "bias": torch.randn(100)}
    save_with_checksum(
        path, {"state_dict": weights, "hyper_parameters": {}, "cnn_classifier": {"format": 2, "version": "0"}}
    )
    original = path.read_bytes()
    num_flips, num_cuts = (200, 50) if full else (20, 5)
    offsets = [len(original) * number // num_flips for number in range(num_flips)]
    damaged = [original[:offset] + bytes([original[offset] ^ 1]) + original[offset + 1 :] for offset in offsets]
    damaged += [original[: len(original) * number // num_cuts] for number in range(num_cuts)] + [b""]
    num_refused = num_refused_by_torch = 0
    for content in damaged:
        path.write_bytes(content)
        with suppress(CheckpointError):
            read_checkpoint(path)
            continue
        num_refused += 1
    for content in damaged:
        path.write_bytes(content)
        num_refused_by_torch += not can_load(path)
    return FaultResult(
        "R9 a byte flipped, an end cut off", f"{num_refused} of {len(damaged)} refused", num_refused == len(damaged),
        stock=f"torch.load refuses {num_refused_by_torch} of {len(damaged)}",
    )  # fmt: skip
