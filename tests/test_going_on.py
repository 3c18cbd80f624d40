"""A run that was interrupted, at any step and as often as you like, ends as one that was not."""

import csv
import hashlib
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeFolder

from cnn_classifier.cli import main

EPOCHS, STEPS = 3, 4  # steps an epoch
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
    "trainer.sizes=null",
]
OF_TIME = ("seconds", "images_per_second")


@pytest.fixture
def images(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Shuffled, augmented and, with dropout, learnt from: an epoch is four steps of eight images and a rest."""
    make_folder({"train/cats": 20, "train/dogs": 20, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)


def train(run_dir: str, *words: str) -> int:
    return main(["train", *WORDS, f"run_dir={run_dir}", *words])


def stopped_at(step: int, *, number: int = signal.SIGTERM, moment: str = "train") -> str:
    return f"+callbacks.stop={{_target_:stop_at.StopAt,step:{step},moment:{moment},number:{int(number)}}}"


def state(run_dir: str) -> dict[str, str]:
    """A digest of each part of the last checkpoint, apart from times and this test's own callback."""
    content = torch.load(Path(run_dir, "checkpoints", "last.ckpt"), weights_only=True)
    content["callbacks"] = {key: value for key, value in content["callbacks"].items() if "Stop" not in key}
    return {key: digest(value) for key, value in content.items() if key != "hyper_parameters"}


def digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()[:12]


def canonical(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        return value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(canonical(inner) for key, inner in value.items() if key not in OF_TIME)
    if isinstance(value, list | tuple):
        return b"".join(map(canonical, value))
    return b"" if isinstance(value, str) else repr(value).encode()  # words are paths


def rows(run_dir: str) -> list[dict[str, str]]:
    with Path(run_dir, "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in OF_TIME} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "more", [(), ("optimizer=sgd", "scheduler=plateau", "scheduler.patience=0")], ids=["muon", "plateau"]
)
def test_a_run_that_is_stopped_at_every_step_ends_with_the_same_bytes(images: None, more: tuple[str, ...]) -> None:
    assert train("whole", *more) == 0

    for step in range(EPOCHS * STEPS):
        with pytest.raises(SystemExit, match="143"):
            train("interrupted", *more, "resume=auto", stopped_at(step))
    assert train("interrupted", *more, "resume=auto") == 0

    assert state("interrupted") == state("whole")
    assert rows("interrupted") == rows("whole")
