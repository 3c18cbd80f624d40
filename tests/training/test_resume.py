"""Resume of interrupted runs: the result equals that of an uninterrupted run."""

import csv
import hashlib
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.training.status import read_status
from scripts.faults.fingerprint import TIME_KEYS, to_canonical_bytes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM cannot be handled on Windows")
EPOCHS, STEPS = 2, 4  # steps per epoch
OVERRIDES = [
    "dataset=folder",
    "dataset.root=images",
    "dataset.image_size=16",
    "dataset.batch_size=8",
    "model.widths=[4,8]",
    "model.stem_stride=1",
    "model.dropout=0.3",
    "trainer=cpu",
    f"trainer.max_epochs={EPOCHS}",
    "dataset.train_sizes=null",
]
GOLDEN_LOSSES = [0.687278, 0.637441]  # per epoch


@pytest.fixture
def images(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Write 40 training images: four steps of eight images per epoch, since some are used for validation."""
    make_folder({"train/cats": 20, "train/dogs": 20, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)


def train(run_dir: str, *overrides: str) -> int:
    return main(["train", *OVERRIDES, f"run_dir={run_dir}", *overrides])


def stop_at_step(step: int, *, number: int = signal.SIGTERM, moment: str = "train", times: int = 1) -> str:
    arguments = f"step:{step},moment:{moment},number:{int(number)},times:{times}"
    return f"+callbacks.stop={{_target_:helpers.stop_at.StopAt,{arguments}}}"


def state(run_dir: str) -> dict[str, str]:
    """Return a digest of each part of the last checkpoint, without times and the callback of this test."""
    content = torch.load(Path(run_dir, "checkpoints", "last.ckpt"), weights_only=True)
    content["callbacks"] = {key: value for key, value in content["callbacks"].items() if "Stop" not in key}
    return {key: digest(value) for key, value in content.items() if key != "hyper_parameters"}


def digest(value: Any) -> str:
    return hashlib.sha256(to_canonical_bytes(value)).hexdigest()[:12]


def rows(run_dir: str) -> list[dict[str, str]]:
    with Path(run_dir, "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in TIME_KEYS} for row in csv.DictReader(file)]


def test_losses_of_a_fixed_seed_equal_the_golden_values(images: None) -> None:
    """Guard against unintended changes; the tolerance covers differences between processors."""
    assert train("run") == 0

    assert [float(row["train/loss"]) for row in rows("run")] == pytest.approx(GOLDEN_LOSSES, rel=1e-3)


def test_run_that_is_interrupted_repeatedly_ends_with_identical_checkpoints(images: None) -> None:
    overrides = ("optimizer=sgd", "scheduler=plateau", "scheduler.patience=0", "model.dropout=0")
    assert train("whole", *overrides) == 0

    for step in (0, 3, 5):  # the first step, the last one of an epoch, and one within an epoch
        with pytest.raises(SystemExit, match="143"):
            train("interrupted", *overrides, "resume=auto", stop_at_step(step))
    assert train("interrupted", *overrides, "resume=auto") == 0

    assert state("interrupted") == state("whole")
    assert rows("interrupted") == rows("whole")


def test_ctrl_c_during_validation_stops_after_the_validation(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("whole") == 0

    assert train("interrupted", stop_at_step(0, moment="val", number=signal.SIGINT)) == 130

    output = capsys.readouterr().err
    assert "Saving a checkpoint, then stopping. Press Ctrl-C again to stop immediately." in output
    assert "error: interrupted; the last checkpoint is kept, resume with resume=interrupted" in output
    assert read_status(Path("interrupted")).state == "interrupted"
    assert [row["epoch"] for row in rows("interrupted")] == ["1"]
    assert train("interrupted", "resume=interrupted") == 0
    assert state("interrupted") == state("whole")


def test_second_signal_stops_immediately_and_keeps_the_checkpoint(images: None) -> None:
    with pytest.raises(SystemExit, match="143"):
        train("run", stop_at_step(2))
    before = Path("run/checkpoints/last.ckpt").read_bytes()

    with pytest.raises(SystemExit, match="143"):
        train("run", "resume=auto", stop_at_step(3, times=2))

    assert Path("run/checkpoints/last.ckpt").read_bytes() == before
    assert train("run", "resume=auto") == 0


def test_resume_skips_damaged_checkpoints(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="143"):
        train("run", stop_at_step(5))
    last = Path("run/checkpoints/last.ckpt")
    damaged = bytearray(last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    last.write_bytes(damaged)
    last.with_name(".last.ckpt.partial").write_bytes(damaged[:100])  # as after a kill during a write

    assert train("run", "resume=auto") == 0

    output = capsys.readouterr()
    assert ".last.ckpt.partial: it is an incomplete write" in output.err
    assert "last.ckpt is damaged: its bytes are not those that were written" in output.err
    assert "/checkpoints/best.ckpt" in output.err
    assert [row["epoch"] for row in rows("run")] == ["1", "2"]


def test_resume_with_changed_config_or_images_is_an_error(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="143"):
        train("run", stop_at_step(3))
    saved = Path("run/checkpoints/last.ckpt").read_bytes()

    assert train("run", "resume=run", "optimizer.weight_decay=0.2") == 2
    assert "optimizer.weight_decay=0.2 cannot change on resume: " in capsys.readouterr().err

    Path("images/train/cats/000.png").rename("images/train/cats/renamed.png")
    assert train("run", "resume=run") == 3
    assert "images differs from the start of the run: 1 new and 1 missing lines of " in capsys.readouterr().err
    assert Path("run/checkpoints/last.ckpt").read_bytes() == saved


def test_resume_with_more_epochs_and_moved_images_continues(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("run", "trainer.max_epochs=1", "scheduler=constant") == 0
    Path("images").rename("moved")

    overrides = ["resume=run", "trainer.max_epochs=2", "scheduler=constant", "dataset.root=moved"]
    assert train("run", *overrides) == 0

    output = capsys.readouterr().err
    assert "Resuming with trainer.max_epochs=2 instead of 1" in output
    assert "Resuming with dataset.root=moved instead of images" in output
