"""Tests of the leaderboard."""

from pathlib import Path

from cnn_classifier.report.pages.leaderboard import note_different_images, val_interval
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
    interval = val_interval(jobs[0])
    assert interval is not None
    assert interval[0] < 0.3 < interval[1] == 1
