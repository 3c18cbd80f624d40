"""Jobs of a sweep that fail, trainings in two processes of which one dies, and sweeps of those: R36, R39 and R40."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fingerprint import TIME_KEYS
from workload import FaultResult, checkpoint_digest, train_arguments

from cnn_classifier.training.status import read_status

DDP_OVERRIDES = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=12"]
COMMAND = [sys.executable, "-m", "cnn_classifier"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]


def start_process(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.Popen(command, stdout=output, stderr=output, env=env, start_new_session=True)


def r36_jobs_that_fail(images: Path, workdir: Path) -> FaultResult:
    """Nine jobs, of which three go well; then the same command without what troubled the others."""
    folder, trouble_file, log = workdir / "sweep", workdir / "trouble", workdir / "log"
    trouble_file.touch()
    kinds = [f"{kind}{number}" for kind in ("none", "raises") for number in (1, 2, 3)] + ["killed", "diverges", "hangs"]
    troubled = ["_target_=callbacks.FaultInjector", f"while_there_is='{trouble_file}'", f"kind={','.join(kinds)}"]
    pool = [
        "hydra/launcher=pool",
        "hydra.launcher.n_jobs=2",
        "hydra.launcher.timeout_minutes=0.5",
        f"hydra.sweep.dir={folder}",
    ]
    train, *others = (override for override in train_arguments(images, folder) if not override.startswith("run_dir="))
    sweep = [*COMMAND, train, "-m", *pool, *others, *(f"+callbacks.trouble.{override}" for override in troubled)]
    start_process(sweep, log).wait()
    statuses = [read_status(folder / str(number)) for number in range(9)]
    states = [f"{status.state} {status.exit_code}" for status in statuses if status]
    expected = ["done 0"] * 3 + ["failed 1"] * 3 + ["killed 9", "failed 6", "killed 9"]
    reports = [(folder / str(number) / "report.json").stat().st_mtime_ns for number in range(3)]
    trouble_file.unlink()
    second_exit_code = start_process([*sweep, f"sweep.resume={folder}"], log).wait()
    is_untouched = reports == [(folder / str(number) / "report.json").stat().st_mtime_ns for number in range(3)]
    num_done = sum((folder / str(number) / "report.json").exists() for number in range(9))
    figure = (
        f"{', '.join(dict.fromkeys(states))}; the same command again: exit {second_exit_code}, {num_done} of 9 done, "
        f"those that were done {'left alone' if is_untouched else 'done again'}"
    )
    passed = states == expected and second_exit_code == 0 and num_done == 9 and is_untouched
    return FaultResult("R36 a sweep of nine: good, failing, killed, diverging, hanging jobs", figure, passed)


def find_rank_pids(run_dir: Path) -> dict[int, int]:
    """The process number of each rank that trains into a folder."""
    pids = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode().split("\0")
            variables = dict(pair.partition("=")[::2] for pair in (folder / "environ").read_text().split("\0"))
        except (OSError, UnicodeDecodeError):
            continue
        if "RANK" in variables and any(str(run_dir) in argument for argument in command):
            pids[int(variables["RANK"])] = int(folder.name)
    return pids


def wait_for_epoch(run_dir: Path) -> None:
    deadline = time.monotonic() + 90
    while not (run_dir / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def read_metrics(run_dir: Path) -> list[dict[str, str]]:
    """What was measured in each epoch, apart from times."""
    with (run_dir / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in TIME_KEYS} for row in csv.DictReader(file)]


def r39_a_process_dies(images: Path, workdir: Path) -> FaultResult:
    """Kill -9 of one, SIGTERM to all, and torchrun that starts anew."""
    log = workdir / "log"
    start_process([*COMMAND, *train_arguments(images, workdir / "whole", *DDP_OVERRIDES)], log).wait()

    def is_whole(name: str) -> bool:
        same = checkpoint_digest(workdir / name) == checkpoint_digest(workdir / "whole")
        return same and read_metrics(workdir / name) == read_metrics(workdir / "whole")

    killed = start_process([*COMMAND, *train_arguments(images, workdir / "killed", *DDP_OVERRIDES)], log)
    wait_for_epoch(workdir / "killed")
    os.kill(find_rank_pids(workdir / "killed")[1], signal.SIGKILL)
    start_time = time.monotonic()
    code = killed.wait()
    seconds = time.monotonic() - start_time
    orphans = len(find_rank_pids(workdir / "killed"))
    exit_code_again = start_process(
        [*COMMAND, *train_arguments(images, workdir / "killed", *DDP_OVERRIDES, "resume=auto")], log
    ).wait()
    first = code != 0 and exit_code_again == 0 and orphans == 0 and is_whole("killed")

    terminated = start_process([*COMMAND, *train_arguments(images, workdir / "told", *DDP_OVERRIDES)], log)
    wait_for_epoch(workdir / "told")
    terminated.send_signal(signal.SIGTERM)
    exit_code = terminated.wait()
    exit_code_again = start_process(
        [*COMMAND, *train_arguments(images, workdir / "told", *DDP_OVERRIDES, "resume=auto")], log
    ).wait()
    second = exit_code == 143 and exit_code_again == 0 and is_whole("told")

    train = [
        override
        for override in train_arguments(images, workdir / "torchrun", *DDP_OVERRIDES, "resume=auto")
        if override not in DDP_OVERRIDES[:3]
    ]
    restarted = start_process([*TORCHRUN, "-m", "cnn_classifier", *train, "trainer=cpu"], log)
    wait_for_epoch(workdir / "torchrun")
    os.kill(find_rank_pids(workdir / "torchrun")[1], signal.SIGKILL)
    third = restarted.wait() == 0 and is_whole("torchrun")
    figure = (
        f"kill -9 of one: all end in {seconds:.1f} s with exit {code}, {orphans} left over, go on to "
        f"{'the bytes of a whole run' if first else 'other bytes'}; SIGTERM: exit {exit_code}, "
        f"{'the same' if second else 'not the same'}; "
        f"torchrun --max-restarts=1: {'the same' if third else 'not the same'}"
    )
    return FaultResult("R39 two processes, one dies", figure, first and second and third)


def r40_sweeps_of_processes(images: Path, workdir: Path) -> FaultResult:
    """Two jobs of two processes each."""
    folder = workdir / "sweep"
    train, *others = (
        override for override in train_arguments(images, folder, *DDP_OVERRIDES) if not override.startswith("run_dir=")
    )
    others = [override for override in others if not override.startswith("trainer.max_epochs")]
    sweep = [train, "-m", *others, "trainer.max_epochs=1", "seed=1,2", f"hydra.sweep.dir={folder}"]
    code = start_process([*COMMAND, *sweep], workdir / "log").wait()
    num_done = len(list(folder.glob("*/report.json")))
    return FaultResult(
        "R40 a sweep of jobs of two processes",
        f"exit {code}, {num_done} of 2 done, a folder each",
        code == 0 and num_done == 2,
    )
