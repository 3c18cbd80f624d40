"""What happens when things go wrong, measured: `make faults`, which writes docs/reliability.md's table.

Needs Linux; as root it also fills small disks. `--short` takes a few of everything.
"""

import argparse
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import processes
import resuming
import running
import stopping
import torch
import writing
from workload import FaultResult, checkpoint_digest, make_images, run, train_arguments

BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def run_faults(workdir: Path, *, full: bool) -> Iterator[FaultResult]:
    """Do each of them, in a folder of its own, and tell what came of it."""
    images = make_images(workdir / "images")
    if run(train_arguments(images, workdir / "whole"), workdir / "log"):
        raise SystemExit((workdir / "log").read_text())
    expected_digest = checkpoint_digest(workdir / "whole")

    def make_workdir(name: str) -> Path:
        (workdir / name).mkdir()
        return workdir / name

    short_faults: list[Callable[[], FaultResult]] = [
        lambda: writing.r1_killed_within_a_write(images, make_workdir("r1"), expected_digest, full=full),
        lambda: writing.r4_full_disk(images, make_workdir("r4"), full=full),
        lambda: writing.r6_file_size_limit(images, make_workdir("r6")),
        lambda: writing.r8_no_place_to_write(images, make_workdir("r8")),
        lambda: writing.r9_bit_rot(make_workdir("r9"), full=full),
        lambda: stopping.r12_two_runs_in_one_folder(images, make_workdir("r12")),
    ]
    long_faults: list[Callable[[], FaultResult]] = [
        lambda: stopping.r2_killed_at_any_time(images, make_workdir("r2"), expected_digest),
        lambda: writing.r3_what_it_costs_to_be_sure(make_workdir("r3")),
        lambda: writing.r5_full_temporary_folder(images, make_workdir("r5")),
        lambda: writing.r7_killed_within_a_write_across_disks(images, make_workdir("r7"), expected_digest, full=full),
        lambda: stopping.r10_told_to_stop(images, make_workdir("r10"), expected_digest),
        lambda: stopping.r11_ctrl_c_in_a_sweep(images, make_workdir("r11")),
        lambda: running.r30_no_number(images, make_workdir("r30")),
        lambda: running.r32_out_of_memory(images, make_workdir("r32"), expected_digest),
        lambda: running.r33_three_hundred_epochs(images, make_workdir("r33")),
        lambda: processes.r36_jobs_that_fail(images, make_workdir("r36")),
        lambda: processes.r39_a_process_dies(images, make_workdir("r39")),
        lambda: processes.r40_sweeps_of_processes(images, make_workdir("r40")),
    ]
    for fault in (*short_faults, *(long_faults if full else ())):  # tests have a few of the others
        yield fault()
    if full:
        yield from resuming.run_all(images, make_workdir("resuming"), expected_digest)
        yield from running.run_covering_tests()


def main() -> int:
    """Print each row once it is known; with all of them, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    short = parser.parse_args().short
    torch.set_num_threads(1)
    start_time, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CNN_CLASSIFIER_HOME"] = f"{folder}/home"
        for row in run_faults(Path(folder), full=not short):
            print("ok   " if row.passed else "WRONG", row.fault, "|", row.figure, "|", row.stock, flush=True)
            rows.append(row)
    if not short:
        write_page(rows, time.perf_counter() - start_time)
    return int(not all(row.passed for row in rows))


def write_page(rows: list[FaultResult], seconds: float) -> None:
    """Put the table into the page, between its marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    rows = sorted(rows, key=lambda row: int(re.findall(r"\d+", row.fault)[0]))
    lines = [
        f"| {row.fault} | {row.figure} | {'yes' if row.passed else '**no**'} | {row.stock or ' '} |" for row in rows
    ]
    table = ["| fault | measured | as promised | stock Lightning |", "| --- | --- | --- | --- |", *lines]
    machine = (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    summary = f"`make faults` in {seconds / 60:.0f} minutes; {machine}."
    after = rest.partition(END)[2]
    PAGE.write_text("\n".join([before + BEGIN, *table, "", summary, END]) + after, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
