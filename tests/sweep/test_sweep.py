"""Tests of sweeps: resuming, job statuses and the leaderboard."""

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
def argv(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of a sweep of two jobs, in an empty working directory."""
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    return [*SWEEP, f"dataset.root={root}"]


def read_leaderboard() -> list[dict[str, str]]:
    with Path("sweep/leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_final_status(
    folder: Path, name: str, overrides: Sequence[str], accuracy: float | None = None, **extra: str
) -> None:
    """Write the status of a finished job."""
    values = {"state": "done" if accuracy is not None else "failed", **extra}
    Status(
        run_dir=folder / name, overrides=overrides, val_accuracy=accuracy, val_loss=0.5, seconds=60.0, **values
    ).write()


def test_resumed_sweep_skips_finished_jobs_and_runs_added_ones(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*argv, "hydra.sweep.dir=sweep"])
    mtimes = {path: path.stat().st_mtime_ns for path in Path("sweep").glob("*/checkpoints/*")}
    status = json.loads(Path("sweep/1/status.json").read_text())
    Path("sweep/1/status.json").write_text(json.dumps(status | {"state": "running"}))  # as after a kill
    assert read_status(Path("sweep/1")).state == "killed"
    capsys.readouterr()
    extended = [argument.replace("0.01,0.02", "0.005,0.02,0.01") for argument in argv]

    assert main([*extended, "sweep.resume=sweep"]) == 0

    out = capsys.readouterr().out
    assert "sweep/0: skipped, already done" in out
    assert "resuming from sweep/1/checkpoints/last.ckpt" in out
    assert {path.parts[1] for path in mtimes if mtimes[path] != path.stat().st_mtime_ns} == {"1"}
    changed = {row["run"]: row["changed"] for row in read_leaderboard()}
    assert changed == {"0": "optimizer.lr=0.01", "1": "optimizer.lr=0.02", "2": "optimizer.lr=0.005"}
    assert [row["status"] for row in read_leaderboard()] == ["done", "done", "done"]
    assert Path("sweep/best.ckpt").is_file()


def test_failed_job_resumes_from_its_checkpoint_unless_it_diverged(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*argv[:-2], "optimizer.lr=0.01", argv[-1], "hydra.sweep.dir=sweep"])
    status = json.loads(Path("sweep/0/status.json").read_text())
    for exit_code, resumes in [(5, True), (6, False)]:
        failed = status | {"state": "failed", "exit_code": exit_code, "message": "the disk was full"}
        Path("sweep/0/status.json").write_text(json.dumps(failed))

        assert main([*argv[:-2], "optimizer.lr=0.01", argv[-1], "sweep.resume=sweep"]) == 0

        assert ("resuming from sweep/0" in capsys.readouterr().out) is resumes
        assert [row["status"] for row in read_leaderboard()] == ["done"]


@pytest.mark.parametrize("folder", ["hydra.sweep.dir=sweeps/${now:%Y}", "hydra.sweep.subdir=a/${hydra.job.num}"])
def test_unsupported_sweep_directory_raises_config_error(
    argv: list[str], folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, folder]) == 2
    assert f"{folder} is not supported: expected a plain name" in capsys.readouterr().err


def test_sweep_directory_may_contain_special_characters(argv: list[str]) -> None:
    assert main([*argv[:-2], "optimizer.lr=0.01", argv[-1], "hydra.sweep.dir=Bob's, first"]) == 0
    assert Path("Bob's, first/leaderboard.csv").is_file()


def test_secrets_are_not_written_to_the_sweep_directory(argv: list[str]) -> None:
    arguments = {"_target_": "torch.nn.Identity", "api_key": "plain-secret", "address": "https://me:url-secret@host/"}
    component = [f"+augment.mine.{key}={value}" for key, value in arguments.items()]
    assert main([*argv[:-2], "optimizer.lr=0.01", argv[-1], *component, "hydra.sweep.dir=sweep"]) == 0
    for path in Path("sweep").rglob("*"):
        if path.is_file():
            assert b"plain-secret" not in path.read_bytes(), path
            assert b"url-secret" not in path.read_bytes(), path
    assert "api_key=***" in Path("sweep/multirun.yaml").read_text(encoding="utf-8")


def test_invalid_sweep_resume_raises_config_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*argv, "sweep.resume=nowhere"]) == 2
    assert "sweep.resume=nowhere is not the directory of a sweep: expected one such as" in capsys.readouterr().err

    assert main([*(argument for argument in argv if argument != "-m"), "sweep.resume=sweep"]) == 2
    assert "sweep.resume=sweep requires -m" in capsys.readouterr().err


def test_running_status_without_a_lock_is_read_as_killed(tmp_path: Path) -> None:
    Status(run_dir=tmp_path / "run", overrides=["seed=1"]).write()
    with run_lock(tmp_path / "run"):
        assert is_locked(tmp_path / "run")
        assert read_status(tmp_path / "run").state == "running"
    assert read_status(tmp_path / "run").state == "killed"


def test_second_run_in_a_locked_directory_raises_config_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    single_run = [argument for argument in argv if argument != "-m" and not argument.startswith("optimizer")]
    with run_lock(Path("run")):
        Status(run_dir=Path("run"), message="mine").write()
        assert main([*single_run, "run_dir=run"]) == 2
        assert read_status(Path("run")).message == "mine"
    assert "run is in use by process" in capsys.readouterr().err


def test_leaderboard_is_sorted_by_validation_accuracy_and_shows_states(tmp_path: Path) -> None:
    write_final_status(tmp_path, "0", ["model=cnn", "seed=1"], 0.8)
    write_final_status(tmp_path, "1", ["model=resnet", "seed=1"], 0.9)
    write_final_status(tmp_path, "2", ["model=cnn", "seed=2"], 0.82)
    write_final_status(tmp_path, "3", ["model=resnet", "seed=2"], 0.91)
    write_final_status(tmp_path, "4", ["model=baseline", "seed=1"], message="the loss is <nan>")
    leaderboard = Leaderboard(tmp_path)

    leaderboard.write(has_ended=True)

    with (tmp_path / "leaderboard.csv").open() as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["3", "1", "2", "0", "4"]
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert "4 done, 1 failed" in page
    assert "the loss is &lt;nan&gt;" in page
    assert "90.5 %" in page  # the mean over two seeds
    assert "significantly worse" in page
    assert 'http-equiv="refresh"' not in page


def test_leaderboard_page_rounds_numbers_and_shows_default_for_missing_overrides(tmp_path: Path) -> None:
    write_final_status(tmp_path, "0", ["seed=1"], 0.8)
    for number in range(1, 20):
        write_final_status(tmp_path, str(number), ["seed=1", f"optimizer.lr={0.03278947 + number / 1000:.12f}"], 0.8)

    Leaderboard(tmp_path).write()

    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert '<td data-name="optimizer.\u200blr" title="default">default</td>' in page
    assert '<td data-name="optimizer.\u200blr" title="0.033789470000">0.0338</td>' in page
    labels = re.findall(r'text-anchor="end">([^<%]+)</text>', page.split('class="parallel"')[1].split("</svg>")[0])
    assert len(labels) == MAX_TICKS
    assert labels[0] == "default"
    assert labels[-1] == "0.0518"


def test_leaderboard_page_reloads_until_the_sweep_ends(tmp_path: Path) -> None:
    write_final_status(tmp_path, "0", ["seed=1"], 0.8)
    Status(run_dir=tmp_path / "1", overrides=["seed=2"], epoch=3, max_epochs=9).write()
    with run_lock(tmp_path / "1"):
        Leaderboard(tmp_path).write()
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in page
    assert "3/9" in page
    Leaderboard(tmp_path).write(has_ended=True)
    assert 'http-equiv="refresh"' not in (tmp_path / "leaderboard.html").read_text(encoding="utf-8")


def test_significantly_worse_group_is_detected() -> None:
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
