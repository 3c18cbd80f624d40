"""Jobs of a sweep that fail, trainings in two processes of which one dies, and sweeps of those: R36, R39 and R40."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fingerprint import OF_TIME
from workload import Row, digest, words

from cnn_classifier.status import read_status

TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=12"]
TRAIN = [sys.executable, "-m", "cnn_classifier"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]


def begin(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as out:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)


def r36_jobs_that_fail(images: Path, place: Path) -> Row:
    """Nine jobs, of which three go well; then the same command without what troubled the others."""
    folder, trouble, log = place / "sweep", place / "trouble", place / "log"
    trouble.touch()
    kinds = [f"{kind}{number}" for kind in ("none", "raises") for number in (1, 2, 3)] + ["killed", "diverges", "hangs"]
    troubled = ["_target_=callbacks.Trouble", f"while_there_is='{trouble}'", f"kind={','.join(kinds)}"]
    pool = ["hydra/launcher=pool", "hydra.launcher.jobs=2", "hydra.launcher.patience=0.5", f"hydra.sweep.dir={folder}"]
    train, *others = (word for word in words(images, folder) if not word.startswith("run_dir="))
    sweep = [*TRAIN, train, "-m", *pool, *others, *(f"+callbacks.trouble.{word}" for word in troubled)]
    begin(sweep, log).wait()
    ended = [read_status(folder / str(number)) for number in range(9)]
    states = [f"{status.state} {status.exit_code}" for status in ended if status]
    expected = ["done 0"] * 3 + ["failed 1"] * 3 + ["killed 9", "failed 6", "killed 9"]
    reports = [(folder / str(number) / "report.json").stat().st_mtime_ns for number in range(3)]
    trouble.unlink()
    again = begin([*sweep, f"sweep.resume={folder}"], log).wait()
    kept = reports == [(folder / str(number) / "report.json").stat().st_mtime_ns for number in range(3)]
    done = sum((folder / str(number) / "report.json").exists() for number in range(9))
    figure = (
        f"{', '.join(dict.fromkeys(states))}; the same command again: exit {again}, {done} of 9 done, "
        f"those that were done {'left alone' if kept else 'done again'}"
    )
    passed = states == expected and again == 0 and done == 9 and kept
    return Row("R36 a sweep of nine: good, failing, killed, diverging, hanging jobs", figure, passed)


def ranks_of(run_dir: Path) -> dict[int, int]:
    """The process number of each rank that trains into a folder."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode().split("\0")
            variables = dict(pair.partition("=")[::2] for pair in (folder / "environ").read_text().split("\0"))
        except (OSError, UnicodeDecodeError):
            continue
        if "RANK" in variables and any(str(run_dir) in word for word in command):
            found[int(variables["RANK"])] = int(folder.name)
    return found


def wait_for_epoch(run_dir: Path) -> None:
    deadline = time.monotonic() + 90
    while not (run_dir / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def figures_of(run_dir: Path) -> list[dict[str, str]]:
    """What was measured in each epoch, apart from times."""
    with (run_dir / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in OF_TIME} for row in csv.DictReader(file)]


def r39_a_process_dies(images: Path, place: Path) -> Row:
    """Kill -9 of one, SIGTERM to all, and torchrun that starts anew."""
    log = place / "log"
    begin([*TRAIN, *words(images, place / "whole", *TWO)], log).wait()

    def is_whole(name: str) -> bool:
        same = digest(place / name) == digest(place / "whole")
        return same and figures_of(place / name) == figures_of(place / "whole")

    killed = begin([*TRAIN, *words(images, place / "killed", *TWO)], log)
    wait_for_epoch(place / "killed")
    os.kill(ranks_of(place / "killed")[1], signal.SIGKILL)
    since = time.monotonic()
    code = killed.wait()
    seconds = time.monotonic() - since
    orphans = len(ranks_of(place / "killed"))
    again = begin([*TRAIN, *words(images, place / "killed", *TWO, "resume=auto")], log).wait()
    first = code != 0 and again == 0 and orphans == 0 and is_whole("killed")

    told = begin([*TRAIN, *words(images, place / "told", *TWO)], log)
    wait_for_epoch(place / "told")
    told.send_signal(signal.SIGTERM)
    ended = told.wait()
    again = begin([*TRAIN, *words(images, place / "told", *TWO, "resume=auto")], log).wait()
    second = ended == 143 and again == 0 and is_whole("told")

    train = [word for word in words(images, place / "torchrun", *TWO, "resume=auto") if word not in TWO[:3]]
    restarted = begin([*TORCHRUN, "-m", "cnn_classifier", *train, "trainer=cpu"], log)
    wait_for_epoch(place / "torchrun")
    os.kill(ranks_of(place / "torchrun")[1], signal.SIGKILL)
    third = restarted.wait() == 0 and is_whole("torchrun")
    figure = (
        f"kill -9 of one: all end in {seconds:.1f} s with exit {code}, {orphans} left over, go on to "
        f"{'the bytes of a whole run' if first else 'other bytes'}; SIGTERM: exit {ended}, "
        f"{'the same' if second else 'not the same'}; "
        f"torchrun --max-restarts=1: {'the same' if third else 'not the same'}"
    )
    return Row("R39 two processes, one dies", figure, first and second and third)


def r40_sweeps_of_processes(images: Path, place: Path) -> Row:
    """Two jobs of two processes each."""
    folder = place / "sweep"
    train, *others = (word for word in words(images, folder, *TWO) if not word.startswith("run_dir="))
    others = [word for word in others if not word.startswith("trainer.max_epochs")]
    sweep = [train, "-m", *others, "trainer.max_epochs=1", "seed=1,2", f"hydra.sweep.dir={folder}"]
    code = begin([*TRAIN, *sweep], place / "log").wait()
    done = len(list(folder.glob("*/report.json")))
    return Row(
        "R40 a sweep of jobs of two processes", f"exit {code}, {done} of 2 done, a folder each", code == 0 and done == 2
    )
