"""Classes with few images: which are left out, which are noted, and that training works."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.data.splits.coverage import leave_out_untrained_classes
from cnn_classifier.training.task import resolve_loss


def make_splits(counts: Mapping[str, list[int]]) -> dict[str, list[Sample]]:
    """Return samples of the splits; `counts` has the number of images of each class."""
    return {
        split: [
            Sample(Path(f"{split}/{label}/{i}.png"), label) for label, count in enumerate(numbers) for i in range(count)
        ]
        for split, numbers in counts.items()
    }


def test_rare_classes_are_named_from_the_rarest() -> None:
    splits = make_splits({"train": [200, 4, 9, 1], "val": [100, 1, 1, 1], "test": [100, 1, 1, 1]})
    kept, notes = leave_out_untrained_classes(splits, ["ants", "bees", "cats", "dogs"])
    assert kept == splits
    assert notes == [
        "Classes with fewer than 10 training images: dogs (1), bees (4), cats (9). Expect many mistakes on them unless "
        "the network is pretrained; add images."
    ]


def test_class_without_training_images_is_left_out_of_the_other_splits() -> None:
    splits = make_splits({"train": [100, 0, 50], "val": [100, 2, 50], "test": [100, 3, 50]})
    kept, notes = leave_out_untrained_classes(splits, ["ants", "bees", "cats"])
    assert [len(samples) for samples in kept.values()] == [150, 150, 150]
    assert notes[0].startswith("Classes without training images: bees.")
    assert "5 images" in notes[0]


def test_hundreds_of_rare_classes_are_abbreviated() -> None:
    splits = make_splits({"train": [1] * 300, "val": [1] * 300, "test": [1] * 300})
    _, notes = leave_out_untrained_classes(splits, [f"class_{index}" for index in range(300)])
    assert len(notes[0]) < 400


def test_balanced_class_weights_ignore_classes_without_training_images() -> None:
    loss = {"label_smoothing": 0.0, "class_weights": "balanced"}
    assert resolve_loss(loss, [30, 10, 0])["class_weights"] == pytest.approx([2 / 3, 2.0, 1.0])


@pytest.mark.parametrize(
    "layout",
    [
        {"train/cats": 8, "train/dogs": 5, "train/owls": 1, "test/cats": 3, "test/dogs": 3},
        {f"{index:02d}": max(1, 20 // (index + 1)) for index in range(30)},  # long-tailed
    ],
    ids=["rare and missing in test", "long tail"],
)
def test_training_works_and_warns(
    layout: dict[str, int],
    make_folder: MakeFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_folder(layout, name="photos", size=16)
    monkeypatch.chdir(tmp_path)
    options = ["model=cnn", "model.widths=[4]", "model.hidden_dim=4", "dataset.image_size=16", "trainer.max_epochs=1"]
    assert main(["train", "photos", *options, "loss.class_weights=balanced", "run_dir=run"]) == 0
    assert "Classes with fewer than 10 training images: " in capsys.readouterr().out
    assert Path("run", "report.html").is_file()
