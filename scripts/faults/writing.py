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
from injected import PARTS, in_folder, kill_within_copy, kill_within_write
from workload import Row, all_whole, digest, run, start_call, wait, words

from cnn_classifier.checkpoint import read_checkpoint
from cnn_classifier.errors import CheckpointError
from cnn_classifier.sealed import write_sealed
from cnn_classifier.storage import write_whole


def r1_killed_within_a_write(images: Path, place: Path, whole: str, *, full: bool) -> Row:
    return killed_within_a_write("R1 kill -9 within a write of a checkpoint", images, place, whole, full=full)


def r7_killed_within_a_write_across_disks(images: Path, place: Path, whole: str, *, full: bool) -> Row:
    """Stock Lightning stages its checkpoints in the temporary folder and copies them."""
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir():
        return Row("R7 the same, the temporary folder on another disk", "not run: there is no /dev/shm", passed=True)
    with in_folder(elsewhere):
        row = killed_within_a_write(
            "R7 the same, the temporary folder on another disk", images, place, whole, full=full
        )
        offsets = range(1000, 100_000, 5000 if full else 50_000)
        lost = 0  # of last.ckpt, whose second version is the fourth copy
        for number, offset in enumerate(offsets):
            folder = place / f"stock{number}"
            train, cut = partial(stock.train, images, folder), partial(kill_within_copy, 4, offset)
            wait(start_call(train, place / "stock.log", cut))
            lost += not loads(folder / "last.ckpt")
    return Row(row.fault, row.figure, row.passed, stock=f"last.ckpt cannot be read after {lost} of {len(offsets)}")


def loads(path: Path) -> bool:
    with suppress(Exception):
        torch.load(path, weights_only=False)
        return True
    return False


def killed_within_a_write(fault: str, images: Path, place: Path, whole: str, *, full: bool) -> Row:
    """The second checkpoint is being written, the first one is there."""
    size = 60_000
    points: list[int | str] = (
        [*(round(size * share / 64) for share in range(64)), *PARTS] if full else [size // 2, "after"]
    )
    good = 0
    for number, point in enumerate(points):
        run_dir = place / f"write{number}"
        run(words(images, run_dir), place / "log", partial(kill_within_write, "last.ckpt", 2, point))
        survived = all_whole(run_dir) and (run_dir / "checkpoints" / "last.ckpt").exists()
        ended = run(words(images, run_dir, "resume=auto"), place / "log")
        good += survived and ended == 0 and digest(run_dir) == whole
        shutil.rmtree(run_dir)
    return Row(fault, f"{good} of {len(points)} go on, and end with the bytes of a whole run", good == len(points))


def r3_what_it_costs_to_be_sure(place: Path) -> Row:
    """A checkpoint of 10 MB, in turns with and without waiting for the disk."""
    content = os.urandom(10_000_000)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(15):
        for sync in (True, False):
            begin = time.perf_counter()
            write_whole(place / "file", content, sync=sync)
            times[sync].append(1000 * (time.perf_counter() - begin))
    with_sync, without = (statistics.median(times[sync]) for sync in (True, False))
    figure = f"file, name, folder in this order (tests/test_sealed.py); {with_sync:.0f} ms, not synced {without:.0f} ms"
    return Row("R3 power cut: the order of writes, 10 MB (n=15)", figure, passed=True)


def r4_full_disk(images: Path, place: Path, *, full: bool) -> Row:
    """A disk with room for a few checkpoints' worth, then for less and less."""
    fault = "R4 disk full in the run's folder"
    sizes = range(96, 296, 20) if full else (256,)
    good, told = 0, set()
    for number, size in enumerate(sizes):
        disk = place / f"disk{number}"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=False).returncode:
            return Row(fault, "not run: mounting a small disk is not allowed here (R6 does it by a limit)", passed=True)
        try:
            run_dir = disk / "run"
            code = run(words(images, run_dir), place / f"full{number}.log")
            line = (place / f"full{number}.log").read_text().strip().splitlines()[-1]
            good += code == 5 and ("bytes" in line or "cannot" in line) and all_whole(run_dir)
            told.add(code)
        finally:
            subprocess.run(["umount", disk], check=True)
    return Row(
        fault,
        f"{good} of {len(sizes)} sizes: exit {sorted(told)}, the checkpoints that were there are whole",
        good == len(sizes),
    )


def r5_full_temporary_folder(images: Path, place: Path) -> Row:
    fault = "R5 disk full in the temporary folder"
    disk = place / "tmp"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        return Row(fault, "not run: mounting a small disk is not allowed here", passed=True)
    try:
        with in_folder(disk):
            code = run(words(images, place / "r5"), place / "log")
            stocks = wait(start_call(lambda: stock.train(images, place / "stock"), place / "stock.log"))
    finally:
        subprocess.run(["umount", disk], check=True)
    return Row(fault, f"exit {code}, unaffected", code == 0, stock=f"exit {stocks}")


def r6_file_size_limit(images: Path, place: Path) -> Row:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code = run(words(images, place / "r6"), place / "r6.log", limit)
    line = (place / "r6.log").read_text().strip().splitlines()[-1]
    return Row("R6 a file may not grow", f"exit {code}: {line.partition('(')[2].partition(')')[0]}", code == 5)


def r8_no_place_to_write(images: Path, place: Path) -> Row:
    """A file in place of a folder, a disk that is read-only; and a folder that vanishes in the middle."""
    (place / "file").touch()
    codes, seconds = [], []
    for folder in (place / "file" / "run", Path("/proc/run")):
        begin = time.perf_counter()
        codes.append(run(words(images, folder), place / "r8.log"))
        seconds.append(time.perf_counter() - begin)
    run_dir = place / "gone"
    vanish = f"+callbacks.vanish={{_target_:callbacks.Vanish,folder:'{run_dir}',step:5}}"
    ended = run(words(images, run_dir, vanish), place / "r8.log")
    remade = all_whole(run_dir) and (run_dir / "checkpoints" / "last.ckpt").exists()
    figure = (
        f"no folder can be made: exit {codes} after {max(seconds):.1f} s; removed at step 5: exit {ended}, made anew"
    )
    return Row(
        "R8 the run's folder cannot be written, or is removed", figure, codes == [5, 5] and ended == 0 and remade
    )


def r9_bit_rot(place: Path, *, full: bool) -> Row:
    """A byte flipped, an end cut off, an empty file."""
    path = place / "rot.ckpt"
    weights = {"weight": torch.randn(100, 100), "bias": torch.randn(100)}
    write_sealed(path, {"state_dict": weights, "hyper_parameters": {}, "cnn_classifier": {"format": 2, "version": "0"}})
    whole = path.read_bytes()
    flips, cuts = (200, 50) if full else (20, 5)
    places = [len(whole) * number // flips for number in range(flips)]
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in places]
    damaged += [whole[: len(whole) * number // cuts] for number in range(cuts)] + [b""]
    refused = by_torch = 0
    for content in damaged:
        path.write_bytes(content)
        with suppress(CheckpointError):
            read_checkpoint(path)
            continue
        refused += 1
    for content in damaged:
        path.write_bytes(content)
        by_torch += not loads(path)
    return Row(
        "R9 a byte flipped, an end cut off", f"{refused} of {len(damaged)} refused", refused == len(damaged),
        stock=f"torch.load refuses {by_torch} of {len(damaged)}",
    )  # fmt: skip
