"""A sweep survives its jobs: each tells how it ended, none is done twice, and a page ranks them while it runs."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.report.charts.parallel_coordinates import MAX_TICKS
from cnn_classifier.report.metrics.seeds import group_by_config
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.training.status import Status, is_locked, read_status, run_lock

SWEEP = ["train", "-m", *TINY, "dataset=folder", "trainer.max_epochs=1", "optimizer.lr=0.01,0.02"]


@pytest.fixture
def words(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sweep of two jobs on a dozen photos, in an empty folder."""
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    return [*SWEEP, f"dataset.root={root}"]


def rows() -> list[dict[str, str]]:
    with Path("sweep/leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ended(folder: Path, name: str, words: Sequence[str], accuracy: float | None = None, **more: str) -> Status:
    state = {"state": "done" if accuracy is not None else "failed", **more}
    status = Status(run_dir=folder / name, overrides=words, val_accuracy=accuracy, val_loss=0.5, seconds=60.0, **state)
    status.write()
    return status


def test_a_sweep_goes_on_where_it_was_and_may_grow(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*words, "hydra.sweep.dir=sweep"])
    before = {path: path.stat().st_mtime_ns for path in Path("sweep").glob("*/checkpoints/*")}
    told = json.loads(Path("sweep/1/status.json").read_text())
    Path("sweep/1/status.json").write_text(json.dumps(told | {"state": "running"}))  # as a kill would leave it
    assert read_status(Path("sweep/1")).state == "killed"
    capsys.readouterr()
    longer = [word.replace("0.01,0.02", "0.005,0.02,0.01") for word in words]

    assert main([*longer, "sweep.resume=sweep"]) == 0

    out = capsys.readouterr().out
    assert "sweep/0: done already" in out
    assert "resuming from sweep/1/checkpoints/last.ckpt" in out
    assert {path.parts[1] for path in before if before[path] != path.stat().st_mtime_ns} == {"1"}
    changed = {row["run"]: row["changed"] for row in rows()}
    assert changed == {"0": "optimizer.lr=0.01", "1": "optimizer.lr=0.02", "2": "optimizer.lr=0.005"}
    assert [row["status"] for row in rows()] == ["done", "done", "done"]
    assert Path("sweep/best.ckpt").is_file()


def test_what_failed_goes_on_from_its_checkpoint_unless_it_diverged(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*words[:-2], "optimizer.lr=0.01", words[-1], "hydra.sweep.dir=sweep"])
    told = json.loads(Path("sweep/0/status.json").read_text())
    for code, goes_on in [(5, True), (6, False)]:
        failed = told | {"state": "failed", "exit_code": code, "message": "the disk was full"}
        Path("sweep/0/status.json").write_text(json.dumps(failed))

        assert main([*words[:-2], "optimizer.lr=0.01", words[-1], "sweep.resume=sweep"]) == 0

        assert ("resuming from sweep/0" in capsys.readouterr().out) is goes_on
        assert [row["status"] for row in rows()] == ["done"]


@pytest.mark.parametrize("folder", ["hydra.sweep.dir=sweeps/${now:%Y}", "hydra.sweep.subdir=a/${hydra.job.num}"])
def test_a_sweep_has_one_folder_and_each_job_one_in_it(
    words: list[str], folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, folder]) == 2
    assert f"{folder}: a sweep has one folder, and each job one in it" in capsys.readouterr().err


def test_a_folder_may_have_any_name(words: list[str]) -> None:
    assert main([*words[:-2], "optimizer.lr=0.01", words[-1], "hydra.sweep.dir=Bob's, first"]) == 0
    assert Path("Bob's, first/leaderboard.csv").is_file()


def test_what_is_secret_stands_in_no_file_of_a_sweep(words: list[str]) -> None:
    told = ["+mine.api_key=given-as-a-word", "+mine.address=https://me:in-an-address@host/"]
    assert main([*words[:-2], "optimizer.lr=0.01", words[-1], *told, "hydra.sweep.dir=sweep"]) == 0
    for path in Path("sweep").rglob("*"):
        if path.is_file():
            assert b"given-as-a-word" not in path.read_bytes(), path
            assert b"in-an-address" not in path.read_bytes(), path
    assert "api_key=***" in Path("sweep/multirun.yaml").read_text(encoding="utf-8")


def test_what_cannot_be_resumed_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "sweep.resume=nowhere"]) == 2
    assert "sweep.resume=nowhere: no sweep began there; expected a folder" in capsys.readouterr().err

    assert main([*(word for word in words if word != "-m"), "sweep.resume=sweep"]) == 2
    assert "sweep.resume=sweep goes with -m" in capsys.readouterr().err


def test_a_run_without_a_living_process_was_killed(tmp_path: Path) -> None:
    Status(run_dir=tmp_path / "run", overrides=["seed=1"]).write()
    with run_lock(tmp_path / "run"):
        assert is_locked(tmp_path / "run")
        assert read_status(tmp_path / "run").state == "running"
    assert read_status(tmp_path / "run").state == "killed"


def test_two_runs_do_not_share_a_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    alone = [word for word in words if word != "-m" and not word.startswith("optimizer")]
    with run_lock(Path("run")):
        Status(run_dir=Path("run"), message="mine").write()
        assert main([*alone, "run_dir=run"]) == 2
        assert read_status(Path("run")).message == "mine"
    assert "run is in use by process" in capsys.readouterr().err


def test_the_leaderboard_ranks_on_validation_and_tells_how_jobs_ended(tmp_path: Path) -> None:
    ended(tmp_path, "0", ["model=cnn", "seed=1"], 0.8)
    ended(tmp_path, "1", ["model=resnet", "seed=1"], 0.9)
    ended(tmp_path, "2", ["model=cnn", "seed=2"], 0.82)
    ended(tmp_path, "3", ["model=resnet", "seed=2"], 0.91)
    ended(tmp_path, "4", ["model=baseline", "seed=1"], message="the loss is <nan>")
    board = Leaderboard(tmp_path)

    board.write(has_ended=True)

    with (tmp_path / "leaderboard.csv").open() as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["3", "1", "2", "0", "4"]
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert "4 done, 1 failed" in page
    assert "the loss is &lt;nan&gt;" in page
    assert "90.5 %" in page  # the mean of two seeds
    assert "really worse" in page
    assert 'http-equiv="refresh"' not in page


def test_long_numbers_are_shortened_and_what_a_job_leaves_is_called_default(tmp_path: Path) -> None:
    ended(tmp_path, "0", ["seed=1"], 0.8)
    for number in range(1, 20):
        ended(tmp_path, str(number), ["seed=1", f"optimizer.lr={0.03278947 + number / 1000:.12f}"], 0.8)

    Leaderboard(tmp_path).write()

    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert '<td data-name="optimizer.lr" title="default">default</td>' in page
    assert '<td data-name="optimizer.lr" title="0.033789470000">0.0338</td>' in page
    labels = re.findall(r'text-anchor="end">([^<%]+)</text>', page.split('class="parallel"')[1].split("</svg>")[0])
    assert len(labels) == MAX_TICKS
    assert labels[0] == "default"
    assert labels[-1] == "0.0518"


def test_a_page_looks_again_by_itself_until_the_end(tmp_path: Path) -> None:
    ended(tmp_path, "0", ["seed=1"], 0.8)
    Status(run_dir=tmp_path / "1", overrides=["seed=2"], epoch=3, max_epochs=9).write()
    with run_lock(tmp_path / "1"):
        Leaderboard(tmp_path).write()
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in page
    assert "3/9" in page
    Leaderboard(tmp_path).write(has_ended=True)
    assert 'http-equiv="refresh"' not in (tmp_path / "leaderboard.html").read_text(encoding="utf-8")


def test_seeds_tell_whether_a_difference_is_real() -> None:
    good, bad, close = (0.90, 0.91, 0.92), (0.80, 0.81, 0.83), (0.895, 0.915, 0.92)
    groups = group_by_config(
        [
            ([f"model={name}", f"seed={seed}"], value)
            for name, values in {"good": good, "bad": bad, "close": close, "once": (0.5,)}.items()
            for seed, value in enumerate(values)
        ]
    )
    assert [group.overrides for group in groups] == [("model=good",), ("model=close",), ("model=bad",), ("model=once",)]
    assert [group.is_significantly_worse for group in groups] == [False, False, True, False]
    assert groups[3].std is None
    assert groups[3].p_value is None
