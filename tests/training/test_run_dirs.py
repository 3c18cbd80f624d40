"""Moved, copied, finished and occupied run directories."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.config.compose import load_config, save_config
from cnn_classifier.config.saved import is_same_experiment
from cnn_classifier.errors import ConfigError
from cnn_classifier.files import BEST_CHECKPOINT, LAST_CHECKPOINT
from cnn_classifier.train import train as train_config
from cnn_classifier.training.callbacks.checkpoint_paths import move_path
from cnn_classifier.training.checkpoints import save_with_checksum
from cnn_classifier.training.status import Status, read_status, run_lock

OVERRIDES = [
    *("dataset=folder", "dataset.root=images", "dataset.image_size=16", "dataset.batch_size=8", "augment=none"),
    *("model.widths=[4,8]", "model.stem_stride=1", "trainer=cpu", "scheduler=constant", "dataset.train_sizes=null"),
]


@pytest.fixture
def images(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_folder({"train/cats": 20, "train/dogs": 20, "test/cats": 4, "test/dogs": 4})


def train(*overrides: str, epochs: int = 1) -> int:
    return main(["train", *OVERRIDES, f"trainer.max_epochs={epochs}", *overrides])


def report(run_dir: str) -> dict[str, Any]:
    """Return `report.json` without times and the command."""
    content = json.loads(Path(run_dir, "report.json").read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key not in ("timing", "command")}


def files_of(folder: str) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def model_checkpoint_state(path: Path) -> dict[str, Any]:
    callbacks = torch.load(path, weights_only=True)["callbacks"]
    return next(state for key, state in callbacks.items() if key.startswith("ModelCheckpoint"))


def test_resumed_finished_run_has_the_same_report_and_checkpoint_also_after_a_move(images: Path) -> None:
    assert train("run_dir=a", epochs=2) == 0
    first, best = report("a"), Path("a", BEST_CHECKPOINT).read_bytes()
    epochs = first["epochs"]
    assert first["val"]["loss_uncalibrated"] == pytest.approx(min(row["val/loss"] for row in epochs), rel=1e-4)
    assert first["calibration"]["temperature"] != 1
    assert first["val"]["loss"] != first["val"]["loss_uncalibrated"]
    assert first["test"]["loss"] != first["test"]["loss_uncalibrated"]

    Path("a").rename("b")
    assert train("resume=b", epochs=2) == 0

    assert report("b") == first
    assert Path("b", BEST_CHECKPOINT).read_bytes() == best
    assert read_status(Path("b")).state == "done"
    assert not Path("a").exists()


def test_copied_run_from_windows_keeps_its_best_checkpoint_and_the_original(images: Path) -> None:
    assert train("run_dir=a") == 0
    checkpoint = torch.load(Path("a", LAST_CHECKPOINT), weights_only=True)
    state = next(state for key, state in checkpoint["callbacks"].items() if key.startswith("ModelCheckpoint"))
    folder, score = r"C:\Users\me\a\checkpoints", torch.tensor(-1.0)  # no epoch has a lower loss
    state |= {"dirpath": folder, "best_model_path": rf"{folder}\best.ckpt", "best_model_score": score}
    state |= {"best_k_models": {rf"{folder}\best.ckpt": score}, "kth_value": score}
    state["kth_best_model_path"] = rf"{folder}\best.ckpt"
    save_with_checksum(Path("a", LAST_CHECKPOINT), checkpoint)
    shutil.copytree("a", "b")
    original = files_of("a")

    assert train("resume=b", epochs=2) == 0

    assert torch.load(Path("b", BEST_CHECKPOINT), weights_only=True)["epoch"] == 0
    assert len(report("b")["epochs"]) == 2
    assert report("b")["checkpoint"] == "checkpoints/best.ckpt"
    new_state = model_checkpoint_state(Path("b", LAST_CHECKPOINT))
    assert new_state["best_model_score"] == score
    assert new_state["best_model_path"] == str(Path("b", BEST_CHECKPOINT).resolve())
    assert files_of("a") == original


def test_run_without_its_best_checkpoint_takes_the_next_epoch(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("run_dir=a") == 0
    Path("b").mkdir()
    Path("a", LAST_CHECKPOINT).rename("b/last.ckpt")

    assert train("resume=b/last.ckpt", "run_dir=c", epochs=2) == 0

    assert "best.ckpt is missing: the next epoch is the best one" in capsys.readouterr().err
    assert model_checkpoint_state(Path("c", BEST_CHECKPOINT))["best_model_path"] == str(
        Path("c", BEST_CHECKPOINT).resolve()
    )


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/content/a/checkpoints/best.ckpt", "/content/a/checkpoints", "new/best.ckpt"),
        (r"D:\a\checkpoints\x\best.ckpt", r"d:\A\checkpoints", "new/x/best.ckpt"),
        ("/elsewhere/best.ckpt", "/content/a/checkpoints", "/elsewhere/best.ckpt"),
        ("", "/content/a/checkpoints", ""),
    ],
)
def test_move_path_accepts_paths_of_any_system(path: str, folder: str, expected: str) -> None:
    assert move_path(path, folder, Path("new")).replace("\\", "/") == expected


@pytest.mark.parametrize("run_dir", ["r", "C:\\\\runs\\\\r"])
def test_saved_config_of_a_moved_run_is_the_same_experiment(run_dir: str, tmp_path: Path) -> None:
    saved = load_config(["dataset=folder", "dataset.root=/old/photos"], run_dir="RUN_DIR")
    save_config(saved, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8").replace("RUN_DIR", run_dir)
    (tmp_path / "config.yaml").write_text(text.replace("/old/photos", "C:/old/photos"), encoding="utf-8")

    config = load_config(["dataset=folder", "dataset.root=/new/photos"], run_dir=tmp_path / "moved")
    assert is_same_experiment(config, tmp_path / "config.yaml")
    other = load_config(["dataset=folder", "dataset.root=/new/others"], run_dir=tmp_path / "moved")
    assert not is_same_experiment(other, tmp_path / "config.yaml")


def test_occupied_run_dir_is_an_error_that_changes_nothing(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "finished").mkdir()
    (tmp_path / "finished" / "report.json").write_text("{}")
    Status(run_dir=tmp_path / "finished", state="done").write()
    (tmp_path / "interrupted" / "checkpoints").mkdir(parents=True)
    (tmp_path / "interrupted" / "checkpoints" / "last.ckpt").touch()
    Status(run_dir=tmp_path / "interrupted", state="interrupted").write()
    (tmp_path / "file").touch()
    before = files_of(".")
    for run_dir, message in (
        ("finished", "holds a finished run: continue it with resume=finished, or choose another name"),
        ("interrupted", "holds a run that is interrupted: continue it with resume=interrupted"),
        ("images/test", "contains other files, such as cats: expected a new or an empty directory"),
        ("images/train/run", "is inside the dataset images, so that its figures would become training images"),
    ):
        assert train(f"run_dir={run_dir}") == 2
        assert f"run_dir={run_dir} {message}" in capsys.readouterr().err
    assert train("run_dir=file") in (2, 5)
    with run_lock(tmp_path / "locked"):
        assert train("run_dir=locked") == 2
    assert "run_dir=locked is in use" in capsys.readouterr().err
    assert main(["train", "-m", *OVERRIDES, "seed=1,2", "hydra.sweep.dir=images"]) == 2
    assert {path: content for path, content in files_of(".").items() if path.parts[0] != "locked"} == before


def test_refused_resume_keeps_the_status_done(images: Path) -> None:
    config = load_config([*OVERRIDES, "trainer.max_epochs=1"], run_dir="a")
    train_config(config)
    Status(run_dir=Path("a"), state="done").write()

    assert train("resume=a", "optimizer.weight_decay=0.2") == 2

    assert read_status(Path("a")).state == "done"
    with pytest.raises(ConfigError, match="holds a finished run"):
        train_config(load_config([*OVERRIDES, "trainer.max_epochs=1"], run_dir="a"))


def test_run_that_saved_no_checkpoint_is_replaced(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a").mkdir()
    Path("a/config.yaml").touch()
    Status(run_dir=Path("a"), state="failed", message="the disk was full").write()

    assert train("run_dir=a", "+trainer.limit_train_batches=1") == 0

    assert read_status(Path("a")).state == "done"
