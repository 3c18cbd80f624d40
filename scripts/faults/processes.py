"""Faults of sweeps and distributed runs: R36, R39 and R40."""

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
    """Start a command in its own session, with its output appended to a log file."""
    with log.open("ab") as output:
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.Popen(command, stdout=output, stderr=output, env=env, start_new_session=True)


def run_sweep_with_failing_jobs(images: Path, workdir: Path) -> FaultResult:
    """Run nine jobs, of which six fail; then remove the fault and resume the sweep."""
    folder, trigger_file, log = workdir / "sweep", workdir / "trigger", workdir / "log"
    trigger_file.touch()
    kinds = [f"{kind}{number}" for kind in ("none", "raises") for number in (1, 2, 3)] + ["killed", "diverges", "hangs"]
    injector = ["_target_=callbacks.FaultInjector", f"trigger_path='{trigger_file}'", f"kind={','.join(kinds)}"]
    pool = [
        "hydra/launcher=pool",
        "hydra.launcher.n_jobs=2",
        "hydra.launcher.timeout_minutes=0.5",
        f"hydra.sweep.dir={folder}",
    ]
    train, *others = (override for override in train_arguments(images, folder) if not override.startswith("run_dir="))
    sweep = [*COMMAND, train, "-m", *pool, *others, *(f"+callbacks.fault.{override}" for override in injector)]
    start_process(sweep, log).wait()
    statuses = [read_status(folder / str(number)) for number in range(9)]
    states = [f"{status.state} {status.exit_code}" for status in statuses if status]
    expected = ["done 0"] * 3 + ["failed 1"] * 3 + ["killed 137", "failed 6", "killed 137"]
    reports = [(folder / str(number) / "report.json").stat().st_mtime_ns for number in range(3)]
    trigger_file.unlink()
    second_exit_code = start_process([*sweep, f"sweep.resume={folder}"], log).wait()
    is_untouched = reports == [(folder / str(number) / "report.json").stat().st_mtime_ns for number in range(3)]
    num_done = sum((folder / str(number) / "report.json").exists() for number in range(9))
    figure = (
        f"{', '.join(dict.fromkeys(states))}; resumed: exit code {second_exit_code}, {num_done} of 9 done, "
        f"finished jobs {'not repeated' if is_untouched else 'repeated'}"
    )
    passed = states == expected and second_exit_code == 0 and num_done == 9 and is_untouched
    return FaultResult("R36 sweep of nine successful, failing, killed, diverging and hanging jobs", figure, passed)


def find_rank_pids(run_dir: Path) -> dict[int, int]:
    """Return the pid of each rank that trains in a run directory."""
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
    """Wait up to 90 seconds for the first checkpoint of a run."""
    deadline = time.monotonic() + 90
    while not (run_dir / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def read_metrics(run_dir: Path) -> list[dict[str, str]]:
    """Return the metrics of each epoch, apart from times."""
    with (run_dir / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in TIME_KEYS} for row in csv.DictReader(file)]


def kill_one_process(images: Path, workdir: Path) -> FaultResult:
    """Kill one of two processes with SIGKILL, stop both with SIGTERM, and let torchrun restart them."""
    log = workdir / "log"
    start_process([*COMMAND, *train_arguments(images, workdir / "reference", *DDP_OVERRIDES)], log).wait()

    def is_identical(name: str) -> bool:
        same_digest = checkpoint_digest(workdir / name) == checkpoint_digest(workdir / "reference")
        return same_digest and read_metrics(workdir / name) == read_metrics(workdir / "reference")

    killed = start_process([*COMMAND, *train_arguments(images, workdir / "killed", *DDP_OVERRIDES)], log)
    wait_for_epoch(workdir / "killed")
    os.kill(find_rank_pids(workdir / "killed")[1], signal.SIGKILL)
    start_time = time.monotonic()
    code = killed.wait()
    seconds = time.monotonic() - start_time
    num_orphans = len(find_rank_pids(workdir / "killed"))
    exit_code_again = start_process(
        [*COMMAND, *train_arguments(images, workdir / "killed", *DDP_OVERRIDES, "resume=auto")], log
    ).wait()
    first = code != 0 and exit_code_again == 0 and num_orphans == 0 and is_identical("killed")

    terminated = start_process([*COMMAND, *train_arguments(images, workdir / "terminated", *DDP_OVERRIDES)], log)
    wait_for_epoch(workdir / "terminated")
    terminated.send_signal(signal.SIGTERM)
    exit_code = terminated.wait()
    exit_code_again = start_process(
        [*COMMAND, *train_arguments(images, workdir / "terminated", *DDP_OVERRIDES, "resume=auto")], log
    ).wait()
    second = exit_code == 143 and exit_code_again == 0 and is_identical("terminated")

    train = [
        override
        for override in train_arguments(images, workdir / "torchrun", *DDP_OVERRIDES, "resume=auto")
        if override not in DDP_OVERRIDES[:3]
    ]
    restarted = start_process([*TORCHRUN, "-m", "cnn_classifier", *train, "trainer=cpu"], log)
    wait_for_epoch(workdir / "torchrun")
    os.kill(find_rank_pids(workdir / "torchrun")[1], signal.SIGKILL)
    third = restarted.wait() == 0 and is_identical("torchrun")
    figure = (
        f"SIGKILL of one: all exit in {seconds:.1f} s with code {code}, {num_orphans} processes left, resumed run "
        f"{'identical' if first else 'different'}; SIGTERM: exit code {exit_code}, "
        f"{'identical' if second else 'different'}; "
        f"torchrun --max-restarts=1: {'identical' if third else 'different'}"
    )
    return FaultResult("R39 one of two processes dies", figure, first and second and third)


def run_sweep_of_distributed_jobs(images: Path, workdir: Path) -> FaultResult:
    """Run a sweep of two jobs with two processes each."""
    folder = workdir / "sweep"
    train, *others = (
        override for override in train_arguments(images, folder, *DDP_OVERRIDES) if not override.startswith("run_dir=")
    )
    others = [override for override in others if not override.startswith("trainer.max_epochs")]
    sweep = [train, "-m", *others, "trainer.max_epochs=1", "seed=1,2", f"hydra.sweep.dir={folder}"]
    code = start_process([*COMMAND, *sweep], workdir / "log").wait()
    num_done = len(list(folder.glob("*/report.json")))
    return FaultResult(
        "R40 sweep of jobs with two processes",
        f"exit code {code}, {num_done} of 2 done, each in its own directory",
        code == 0 and num_done == 2,
    )
