"""Tests of the leaderboard."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from cnn_classifier.report.pages.leaderboard import (
    build_time_chart,
    has_same_images,
    note_different_images,
    val_interval,
)
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.training.status import Status


def write_job(run_dir: Path, val_image: str) -> Status:
    run_dir.mkdir()
    (run_dir / "split.csv").write_text(f"path,label,split\n{val_image},a,val\nz.png,a,test\n", encoding="utf-8")
    return Status(run_dir=run_dir, overrides=[], val_accuracy=1.0)


def test_jobs_with_different_validation_images_are_noted(tmp_path: Path) -> None:
    jobs = [write_job(tmp_path / name, image) for name, image in (("0", "a.png"), ("1", "a.png"), ("2", "b.png"))]
    assert note_different_images(jobs[:2]) == []
    (note,) = note_different_images(jobs)
    assert note.startswith("The jobs were measured on different validation images, because")
    assert [has_same_images(job, jobs[0]) for job in jobs] == [True, True, False]
    assert has_same_images(Status(run_dir=tmp_path / "3", overrides=[]), jobs[0]) is None
    interval = val_interval(jobs[0])
    assert interval is not None
    assert interval[0] < 0.3 < interval[1] == 1


def test_leaderboard_csv_states_which_jobs_were_measured_on_the_images_of_the_best(tmp_path: Path) -> None:
    for name, image, accuracy in (("0", "a.png", 0.7), ("1", "b.png", 0.9), ("2", "b.png", 0.8)):
        job = write_job(tmp_path / name, image)
        replace(job, overrides=[f"seed={name}"], state="done", val_accuracy=accuracy, val_loss=0.5).write()
    Status(run_dir=tmp_path / "3", overrides=["seed=3"], state="failed").write()

    Leaderboard(tmp_path).write()

    with (tmp_path / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = [(row["run"], row["same_images"]) for row in csv.DictReader(file)]
    assert rows == [("1", "yes"), ("2", "yes"), ("0", "no"), ("3", "")]


@pytest.mark.parametrize(
    ("seconds", "unit", "last_tick"),
    [(3.2, "seconds", "4"), (119, "seconds", "125"), (150, "minutes", "2.5"), (9000, "hours", "2.5")],
)
def test_time_axis_uses_a_unit_that_suits_the_durations(
    seconds: float, unit: str, last_tick: str, tmp_path: Path
) -> None:
    job = Status(run_dir=tmp_path, overrides=[], val_accuracy=0.9, seconds=seconds)
    axis = build_time_chart([job, replace(job, seconds=seconds / 2)])["x"]
    assert axis["name"] == unit
    assert axis["ticks"][-1][1] == last_tick
