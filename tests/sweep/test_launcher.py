"""Tests of the local launcher: jobs in separate processes that end in different ways."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.sweep.launcher import worker_slots
from cnn_classifier.sweep.worker import LOG_NAME, JobProcess
from cnn_classifier.training.status import read_status

TESTS = Path(__file__).parents[1]


@pytest.fixture
def argv(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of a sweep over `TroubleNet`."""
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    Path("mine", "model").mkdir(parents=True)
    Path("mine", "model", "trouble.yaml").write_text(
        "_target_: helpers.trouble_net.TroubleNet\ntrouble: none\n", encoding="utf-8"
    )
    return [
        "train",
        "-m",
        "--config-dir=mine",
        "hydra/launcher=pool",
        "hydra.launcher.n_jobs=2",
        "hydra.sweep.dir=sweep",
        "dataset=folder",
        f"dataset.root={root}",
        "dataset.image_size=16",
        "optimizer.lr=0.01",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "model=trouble",
    ]


def test_failed_and_killed_jobs_are_reported_and_only_they_run_again_on_resume(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds_since_output = JobProcess.seconds_since_output

    def time_out_hanging_jobs(process: JobProcess) -> float:  # without waiting for 30 minutes
        return 1e9 if b"hanging" in (process.run_dir / LOG_NAME).read_bytes() else seconds_since_output(process)

    monkeypatch.setattr(JobProcess, "seconds_since_output", time_out_hanging_jobs)
    monkeypatch.setattr("cnn_classifier.sweep.worker.STOP_TIMEOUT_SECONDS", 5.0)
    monkeypatch.setattr(sys, "argv", ["train.py", *argv[1:]])

    assert main([*argv, "model.trouble=none,'is killed',diverges,hangs"]) != 0

    statuses = {int(path.name): read_status(path) for path in Path("sweep").glob("[0-9]")}
    assert [statuses[number].state for number in range(4)] == ["done", "killed", "failed", "killed"]
    assert statuses[1].message == "ended by signal 9 (SIGKILL)"
    assert statuses[1].exit_code == 137
    assert statuses[2].exit_code == 6
    assert statuses[3].message.startswith("stopped: no output for 30 minutes")
    assert Path("sweep/best.ckpt").resolve() == Path("sweep/0/checkpoints/best.ckpt").resolve()
    assert "4 jobs" in Path("sweep/leaderboard.html").read_text(encoding="utf-8")

    best_mtime = Path("sweep/best.ckpt").stat().st_mtime_ns
    monkeypatch.setenv("NO_TROUBLE", "1")
    monkeypatch.setattr(JobProcess, "seconds_since_output", seconds_since_output)
    assert main([*argv, "model.trouble=none,'is killed',diverges,hangs", "sweep.resume=sweep"]) == 0
    assert Path("sweep/best.ckpt").stat().st_mtime_ns == best_mtime
    assert "sweep/0: skipped, already done" in capsys.readouterr().out
    assert [read_status(Path("sweep", str(number))).state for number in range(4)] == ["done"] * 4


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_sweep_interrupts_its_jobs(argv: list[str]) -> None:
    jobs = ["trainer.max_epochs=10000", "model.trouble='is slow',none"]
    command = [sys.executable, "-m", "cnn_classifier", *argv, *jobs]
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = Path("sweep/0", LOG_NAME)
    while not (log.is_file() and b"epoch" in log.read_bytes()):
        assert sweep.poll() is None
        time.sleep(0.2)

    sweep.send_signal(signal.SIGINT)

    assert sweep.wait(timeout=90) == 130
    assert read_status(Path("sweep/0")).state == "interrupted"
    assert Path("sweep/leaderboard.csv").is_file()


def test_worker_slots_divide_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert [slot["cores"] for slot in worker_slots(2, [])] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert len(worker_slots("auto", [])) == 2
    assert [slot["gpu"] for slot in worker_slots("auto", ["3", "5"])] == ["3", "5"]
    assert [slot["gpu"] for slot in worker_slots(4, ["3", "5"])] == ["3", "5", "3", "5"]


def test_invalid_n_jobs_raises_config_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    argv = [argument.replace("n_jobs=2", "n_jobs=none") for argument in argv]
    assert main([*argv, "model.trouble=none"]) == 2
    assert "hydra.launcher.n_jobs=none is invalid: expected auto or an integer of at least 1" in capsys.readouterr().err
