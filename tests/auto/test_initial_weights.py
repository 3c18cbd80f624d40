"""A start from an earlier run: shared classes keep their weights, and errors are reported before images are decoded."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.folders import MakeFolder
from PIL import Image
from torch import nn

from cnn_classifier.cli.main import main
from cnn_classifier.errors import CheckpointError
from cnn_classifier.models.warm_start import copy_weights, describe_classes
from cnn_classifier.training.checkpoints import read_checkpoint

NETWORK = ["model=resnet", "model.widths=[4,8]", "model.stem_channels=4", "model.dropout=0"]
OPTIONS = ["dataset.image_size=16", "dataset.train_sizes=null", "dataset.batch_size=8", "trainer=cpu"]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned birds and cats."""
    folder = tmp_path_factory.mktemp("earlier")
    for name, color in (("birds", "green"), ("cats", "gray")):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (16, 16 + index), color).save(folder / "photos" / name / f"{index}.png")
    options = [str(folder / "photos"), *NETWORK, *OPTIONS, "trainer.max_epochs=1", f"run_dir={folder / 'first'}"]
    assert main(["train", *options]) == 0
    return folder / "first"


@pytest.fixture
def first(earlier: Path, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the earlier run beside a folder `more` with cats and dogs."""
    shutil.copytree(earlier, tmp_path / "first")
    make_folder({"cats": 10, "dogs": 10}, name="more", size=16)
    monkeypatch.chdir(tmp_path)
    return "first"


def train(*overrides: str) -> int:
    return main(["train", "more", *OPTIONS, "trainer.max_epochs=1", "run_dir=second", *overrides])


def make_linear(num_classes: int, value: float) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, num_classes))
    nn.init.constant_(network[0].weight, value)
    with torch.no_grad():
        network[1].weight.copy_(value * torch.arange(1, num_classes + 1)[:, None].expand(-1, 4))
    return network


def test_rows_of_shared_classes_are_copied_and_new_ones_get_the_mean() -> None:
    previous, network = make_linear(2, 1.0), make_linear(3, 9.0)
    names = {"class_names": ["ants", "cats", "dogs"], "previous_names": ["cats", "ants"]}
    copy_weights(network, previous.state_dict(), wider=make_linear(4, 0.0), **names)
    assert torch.equal(network[0].weight, previous[0].weight)
    assert network[1].weight[:, 0].tolist() == [2.0, 1.0, 1.5]
    assert describe_classes(**names) == "classes copied 2 (ants, cats) · new 1 (dogs)"


def test_network_without_a_shared_class_keeps_its_head() -> None:
    previous, network = make_linear(2, 1.0), make_linear(2, 9.0)
    head = network[1].weight.clone()
    copy_weights(
        network, previous.state_dict(), wider=make_linear(3, 0.0), class_names=["a", "b"], previous_names=["c", "d"]
    )
    assert torch.equal(network[1].weight, head)
    assert torch.equal(network[0].weight, previous[0].weight)


def test_other_shapes_are_an_error_that_names_the_tensor() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    wider = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3))
    with pytest.raises(CheckpointError, match=r"0\.weight has shape \(4, 3\) instead of \(5, 3\)"):
        copy_weights(
            network, make_linear(2, 1.0).state_dict(), wider=wider, class_names=["a", "b"], previous_names=["a", "b"]
        )


@pytest.mark.parametrize("model", [["model=resnet", "model.stem_channels=4"], []])  # model=auto follows the run
def test_run_starts_from_the_weights_of_an_earlier_run(
    model: list[str], first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert train(*model, f"model.weights={first}", "optimizer.lr=1e-9", "callbacks=early_stopping") == 0

    out = capsys.readouterr().out
    assert "model.widths=[4,8] (as in first)" in out or "model=resnet (as in first)" in out
    assert "starting from first: classes copied 1 (cats) · new 1 (dogs) · dropped 1 (birds)" in out
    before, after = (read_checkpoint(run)["state_dict"] for run in (first, "second"))
    convolutions = [name for name, value in before.items() if value.ndim == 4]
    assert convolutions
    for name in convolutions:
        assert torch.allclose(after[name], before[name], atol=1e-4), name
    shutil.rmtree(first)  # the run does not depend on it any more
    assert main(["predict", "second", "more/cats/000.png"]) == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=resnet", "model.weights=nowhere"], "model.weights=nowhere does not exist"),
        (["model=cnn", "model.weights=first"], "set model=resnet"),
        (["model=resnet", "model.widths=[4,16]", "model.weights=first"], "set model.widths=[4,8]"),
        (["model=resnet", "model.weights=more"], "more"),  # a folder without a checkpoint
        (["model=resnet", "model.weights=imagenet"], "has no pretrained weights; use model=pretrained"),
    ],
)
def test_weights_that_do_not_fit_are_an_error_before_decoding(
    overrides: list[str], message: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert train(*overrides) in (2, 4)
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert "images in" not in printed.out  # no data was read
    assert not Path("second").exists()
