"""Run the fault-injection suite and write the table of docs/reliability.md: `make faults`.

Requires Linux. Faults that mount small disks require root and are skipped otherwise. `--short` runs a subset and does
not write the page.
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
    """Inject each fault in its own directory and yield its result.

    Args:
        workdir: An empty directory for images and runs.
        full: Whether to run all faults with all trials.
    """
    images = make_images(workdir / "images")
    if run(train_arguments(images, workdir / "reference"), workdir / "log"):
        raise SystemExit((workdir / "log").read_text())
    expected_digest = checkpoint_digest(workdir / "reference")

    def make_workdir(name: str) -> Path:
        (workdir / name).mkdir()
        return workdir / name

    short_faults: list[Callable[[], FaultResult]] = [
        lambda: writing.kill_during_write(images, make_workdir("r1"), expected_digest, full=full),
        lambda: writing.fill_run_disk(images, make_workdir("r4"), full=full),
        lambda: writing.limit_file_size(images, make_workdir("r6")),
        lambda: writing.block_run_dir(images, make_workdir("r8")),
        lambda: writing.damage_checkpoint(make_workdir("r9"), full=full),
        lambda: stopping.start_two_runs_in_one_directory(images, make_workdir("r12")),
    ]
    long_faults: list[Callable[[], FaultResult]] = [
        lambda: stopping.kill_at_random_times(images, make_workdir("r2"), expected_digest),
        lambda: writing.measure_sync_cost(make_workdir("r3")),
        lambda: writing.fill_temp_disk(images, make_workdir("r5")),
        lambda: writing.kill_during_write_across_disks(images, make_workdir("r7"), expected_digest, full=full),
        lambda: stopping.send_sigterm(images, make_workdir("r10"), expected_digest),
        lambda: stopping.interrupt_sweep(images, make_workdir("r11")),
        lambda: running.inject_nan_gradients(images, make_workdir("r30")),
        lambda: running.exhaust_memory(images, make_workdir("r32"), expected_digest),
        lambda: running.train_300_epochs(images, make_workdir("r33")),
        lambda: processes.run_sweep_with_failing_jobs(images, make_workdir("r36")),
        lambda: processes.kill_one_process(images, make_workdir("r39")),
        lambda: processes.run_sweep_of_distributed_jobs(images, make_workdir("r40")),
    ]
    for fault in (*short_faults, *(long_faults if full else ())):
        yield fault()
    if full:
        yield from resuming.run_all(images, make_workdir("resuming"), expected_digest)
        yield from running.run_covering_tests()


def main() -> int:
    """Print each result as it becomes available; after a full run, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="run a subset of the faults, with fewer trials")
    short = parser.parse_args().short
    torch.set_num_threads(1)
    start_time, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CNN_CLASSIFIER_HOME"] = f"{folder}/home"
        for row in run_faults(Path(folder), full=not short):
            print("ok   " if row.passed else "FAILED", row.fault, "|", row.figure, "|", row.stock, flush=True)
            rows.append(row)
    if not short:
        write_page(rows, time.perf_counter() - start_time)
    return int(not all(row.passed for row in rows))


def write_page(rows: list[FaultResult], seconds: float) -> None:
    """Write the table between the markers of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    rows = sorted(rows, key=lambda row: int(re.findall(r"\d+", row.fault)[0]))
    lines = [
        f"| {row.fault} | {row.figure} | {'yes' if row.passed else '**no**'} | {row.stock or ' '} |" for row in rows
    ]
    table = ["| fault | measured | passed | stock Lightning |", "| --- | --- | --- | --- |", *lines]
    machine = (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    summary = f"`make faults` in {seconds / 60:.0f} minutes; {machine}."
    after = rest.partition(END)[2]
    PAGE.write_text("\n".join([before + BEGIN, *table, "", summary, END]) + after, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
