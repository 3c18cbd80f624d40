"""A run that was interrupted, at any step and as often as you like, ends as one that was not."""

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

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process that is sent SIGTERM")
EPOCHS, STEPS = 2, 4  # steps an epoch
WORDS = [
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
GOLDEN_LOSSES = [0.676963, 0.617579]  # of each epoch


@pytest.fixture
def images(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Shuffled, augmented and, with dropout, learnt from: an epoch is four steps of eight images and a rest."""
    make_folder({"train/cats": 20, "train/dogs": 20, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)


def train(run_dir: str, *words: str) -> int:
    return main(["train", *WORDS, f"run_dir={run_dir}", *words])


def stopped_at(step: int, *, number: int = signal.SIGTERM, moment: str = "train", times: int = 1) -> str:
    told = f"step:{step},moment:{moment},number:{int(number)},times:{times}"
    return f"+callbacks.stop={{_target_:helpers.stop_at.StopAt,{told}}}"


def state(run_dir: str) -> dict[str, str]:
    """A digest of each part of the last checkpoint, apart from times and this test's own callback."""
    content = torch.load(Path(run_dir, "checkpoints", "last.ckpt"), weights_only=True)
    content["callbacks"] = {key: value for key, value in content["callbacks"].items() if "Stop" not in key}
    return {key: digest(value) for key, value in content.items() if key != "hyper_parameters"}


def digest(value: Any) -> str:
    return hashlib.sha256(to_canonical_bytes(value)).hexdigest()[:12]


def rows(run_dir: str) -> list[dict[str, str]]:
    with Path(run_dir, "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in TIME_KEYS} for row in csv.DictReader(file)]


def test_the_losses_of_a_seed_are_those_that_they_have_always_been(images: None) -> None:
    """Within what processors differ in; whoever changes them on purpose changes them here."""
    assert train("run") == 0

    assert [float(row["train/loss"]) for row in rows("run")] == pytest.approx(GOLDEN_LOSSES, rel=1e-3)


def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_bytes(images: None) -> None:
    more = ("optimizer=sgd", "scheduler=plateau", "scheduler.patience=0", "model.dropout=0")
    assert train("whole", *more) == 0

    for step in (0, 3, 5):  # the first, the last of an epoch, and one within
        with pytest.raises(SystemExit, match="143"):
            train("interrupted", *more, "resume=auto", stopped_at(step))
    assert train("interrupted", *more, "resume=auto") == 0

    assert state("interrupted") == state("whole")
    assert rows("interrupted") == rows("whole")


def test_ctrl_c_during_the_validation_waits_for_its_end(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("whole") == 0

    assert train("interrupted", stopped_at(0, moment="val", number=signal.SIGINT)) == 130

    told = capsys.readouterr().err
    assert "stopping once this step is saved; again to stop at once" in told
    assert "error: interrupted; what it has learnt is kept, go on with resume=interrupted" in told
    assert read_status(Path("interrupted")).state == "interrupted"
    assert [row["epoch"] for row in rows("interrupted")] == ["1"]
    assert train("interrupted", "resume=interrupted") == 0
    assert state("interrupted") == state("whole")


def test_a_second_signal_stops_at_once_and_harms_nothing(images: None) -> None:
    with pytest.raises(SystemExit, match="143"):
        train("run", stopped_at(2))
    before = Path("run/checkpoints/last.ckpt").read_bytes()

    with pytest.raises(SystemExit, match="143"):
        train("run", "resume=auto", stopped_at(3, times=2))

    assert Path("run/checkpoints/last.ckpt").read_bytes() == before
    assert train("run", "resume=auto") == 0


def test_a_damaged_checkpoint_gives_way_to_the_one_before(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="143"):
        train("run", stopped_at(5))
    last = Path("run/checkpoints/last.ckpt")
    damaged = bytearray(last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    last.write_bytes(damaged)
    last.with_name(".last.ckpt.partial").write_bytes(damaged[:100])  # as a kill within a write leaves it

    assert train("run", "resume=auto") == 0

    told = capsys.readouterr()
    assert ".last.ckpt.partial is what a write that was cut off has left; passed over" in told.err
    assert "last.ckpt is damaged: its bytes are not those that were written" in told.err
    assert "/checkpoints/best.ckpt" in told.err
    assert [row["epoch"] for row in rows("run")] == ["1", "2"]


def test_what_a_run_began_with_must_be_there_to_go_on(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="143"):
        train("run", stopped_at(3))
    saved = Path("run/checkpoints/last.ckpt").read_bytes()

    assert train("run", "resume=run", "optimizer.weight_decay=0.2") == 2
    assert "optimizer.weight_decay=0.2 cannot be changed as a run goes on; " in capsys.readouterr().err

    Path("images/train/cats/000.png").rename("images/train/cats/renamed.png")
    assert train("run", "resume=run") == 3
    assert "images is not what the run began with: 1 new and 1 missing lines of " in capsys.readouterr().err
    assert Path("run/checkpoints/last.ckpt").read_bytes() == saved


def test_more_epochs_and_another_place_of_the_images_are_told_and_taken(
    images: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("run", "trainer.max_epochs=1", "scheduler=constant") == 0
    Path("images").rename("moved")

    words = ["resume=run", "trainer.max_epochs=2", "scheduler=constant", "dataset.root=moved"]
    assert train("run", *words) == 0

    told = capsys.readouterr().err
    assert "going on with trainer.max_epochs=2 in place of 1" in told
    assert "going on with dataset.root=moved in place of images" in told
