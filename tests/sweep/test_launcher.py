"""Jobs in processes of their own: what befalls one is told, and takes nothing else with it."""

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
def words(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sweep over a network that gets into every kind of trouble."""
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


def test_each_job_tells_how_it_ended_and_a_second_command_does_only_what_is_left(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = JobProcess.seconds_since_output

    def without_waiting(child: JobProcess) -> float:  # half an hour is long for a test
        return 1e9 if b"hanging" in (child.run_dir / LOG_NAME).read_bytes() else silence(child)

    monkeypatch.setattr(JobProcess, "seconds_since_output", without_waiting)
    monkeypatch.setattr("cnn_classifier.sweep.worker.STOP_TIMEOUT_SECONDS", 5.0)
    monkeypatch.setattr(sys, "argv", ["train.py", *words[1:]])

    assert main([*words, "model.trouble=none,'is killed',diverges,hangs"]) != 0

    told = {int(path.name): read_status(path) for path in Path("sweep").glob("[0-9]")}
    assert [told[number].state for number in range(4)] == ["done", "killed", "failed", "killed"]
    assert told[1].message == "ended by signal 9 (SIGKILL)"
    assert told[1].exit_code == 137
    assert told[2].exit_code == 6
    assert told[3].message.startswith("no sign of life for 30 minutes")
    assert Path("sweep/best.ckpt").resolve() == Path("sweep/0/checkpoints/best.ckpt").resolve()
    assert "4 jobs" in Path("sweep/leaderboard.html").read_text(encoding="utf-8")

    best = Path("sweep/best.ckpt").stat().st_mtime_ns
    monkeypatch.setenv("NO_TROUBLE", "1")
    monkeypatch.setattr(JobProcess, "seconds_since_output", silence)
    assert main([*words, "model.trouble=none,'is killed',diverges,hangs", "sweep.resume=sweep"]) == 0
    assert Path("sweep/best.ckpt").stat().st_mtime_ns == best
    assert "sweep/0: done already" in capsys.readouterr().out
    assert [read_status(Path("sweep", str(number))).state for number in range(4)] == ["done"] * 4


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_sweep_that_is_stopped_stops_its_jobs(words: list[str]) -> None:
    jobs = ["trainer.max_epochs=10000", "model.trouble='is slow',none"]
    command = [sys.executable, "-m", "cnn_classifier", *words, *jobs]
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = Path("sweep/0", LOG_NAME)
    while not (log.is_file() and b"epoch" in log.read_bytes()):
        assert sweep.poll() is None
        time.sleep(0.2)

    sweep.send_signal(signal.SIGINT)

    assert sweep.wait(timeout=90) == 130
    assert read_status(Path("sweep/0")).state == "interrupted"
    assert Path("sweep/leaderboard.csv").is_file()


def test_each_job_has_cores_or_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert [place["cores"] for place in worker_slots(2, [])] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert len(worker_slots("auto", [])) == 2
    assert [place["gpu"] for place in worker_slots("auto", ["3", "5"])] == ["3", "5"]
    assert [place["gpu"] for place in worker_slots(4, ["3", "5"])] == ["3", "5", "3", "5"]


def test_a_number_of_jobs_is_a_number(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = [word.replace("n_jobs=2", "n_jobs=none") for word in words]
    assert main([*given, "model.trouble=none"]) == 2
    assert "hydra.launcher.n_jobs=none: expected auto, or a number of at least 1" in capsys.readouterr().err
