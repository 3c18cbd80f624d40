"""The learning-rate range test and the `lr-find` command."""

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import TINY, MakeFolder
from lightning.pytorch import LightningDataModule, LightningModule
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnn_classifier.cli.lr_find import format_result
from cnn_classifier.cli.main import main
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.training import lr_finder
from cnn_classifier.training.environment import ignore_known_warnings
from cnn_classifier.training.lr_finder import (
    MAX_LR_FACTOR,
    MIN_LR_FACTOR,
    LRFinderResult,
    LRRangeTest,
    find_lr,
    steepest_lr,
)
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.muon import Muon


@pytest.fixture(autouse=True)
def ignored_warnings() -> None:
    """Filter the warnings of Lightning that pytest would raise as errors."""
    ignore_known_warnings()


class Batches(LightningDataModule):
    """Five batches of random vectors, labeled by the sign of their sum."""

    def train_dataloader(self) -> DataLoader[Any]:
        inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
        return DataLoader(list(zip(inputs, (inputs.sum(1) > 0).long(), strict=True)), batch_size=8)


class Classifier(LightningModule):
    """A module with a convolution for Muon, a linear layer for AdamW and a scheduler."""

    def __init__(self, lr: float = 0.02) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.lr = lr
        self.layers = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        self.group_lrs: list[list[float]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, labels = batch
        self.group_lrs.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        return nn.functional.cross_entropy(self.layers(inputs.view(-1, 2, 2, 2)), labels)

    def configure_optimizers(self) -> Any:
        optimizer = Muon(self.parameters(), lr=self.lr, adamw_lr=2e-3)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)]


@pytest.fixture
def overrides(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    root = make_folder({"cats": 20, "dogs": 20})
    monkeypatch.chdir(tmp_path)
    return ["lr-find", "dataset=folder", f"dataset.root={root}", *TINY, "--steps=30"]


def test_lr_find_prints_a_learning_rate_and_writes_only_the_plot(
    pictures: None, overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*overrides, "--out=pictures/rates.png"]) == 0

    output = capsys.readouterr().out
    suggested_lr = float(output.partition("falls fastest at a learning rate of ")[2].split()[0])
    assert 1e-6 < suggested_lr < 0.1
    with Image.open("pictures/rates.png") as picture:
        assert picture.size == (720, 480)
    assert [path.name for path in Path.cwd().iterdir() if path.name not in ("images", "pictures", "home")] == []


def test_lr_find_with_resume_starts_from_the_weights_of_the_checkpoint(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    initial_weights: dict[str, Tensor] = {}

    def record_weights(module: ImageClassifier, *args: Any, **kwargs: Any) -> LRFinderResult:
        initial_weights.update({name: value.clone() for name, value in module.state_dict().items()})
        return find_lr(module, *args, **kwargs)

    monkeypatch.setattr(lr_finder, "find_lr", record_weights)
    train_overrides = [argument for argument in overrides[1:] if not argument.startswith("--")]
    assert main(["train", *train_overrides, "trainer.max_epochs=1", "run_dir=run"]) == 0
    assert main(["lr-find", *train_overrides, "resume=run"]) == 0
    assert "falls fastest at a learning rate of" in capsys.readouterr().out
    saved = torch.load("run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(initial_weights[name], saved[name]) for name in saved)


@pytest.mark.parametrize(
    ("default_lr", "message"),
    [
        (3e-4, "learning rate 0.0003 is below this range.\n  override: optimizer.lr=0.001"),
        (3e-3, "learning rate 0.003 is between the two and suitable; no change is needed."),
        (3e-1, "learning rate 0.3 is above this range.\n  override: optimizer.lr=0.001"),
    ],
)
def test_lr_find_compares_the_suggestion_with_the_configured_learning_rate(default_lr: float, message: str) -> None:
    result = LRFinderResult([1e-4, 1e-3, 1e-2, 1e-1], [3.0, 2.0, 1.0, 5.0], default_lr, suggested_lr=1e-3)
    assert format_result(result) == (
        "The loss falls fastest at a learning rate of 0.001 and is lowest at 0.01.\nThe configured " + message
    )


def test_lr_find_with_an_unknown_plot_suffix_is_a_usage_error(
    overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*overrides, "--out=rates.txt"]) == 2
    message = capsys.readouterr().err
    assert "rates.txt does not have the suffix of a plot file: expected .png, .svg, .pdf" in message


def test_lr_find_does_not_change_frozen_layers(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[str] = []

    def record_changes(module: ImageClassifier, *args: Any, **kwargs: Any) -> LRFinderResult:
        before = {name: parameter.clone() for name, parameter in module.network.named_parameters()}
        with suppress(DataError):  # six steps may not decrease the loss
            find_lr(module, *args, **kwargs)
        changed.extend(n for n, parameter in module.network.named_parameters() if not parameter.equal(before[n]))
        return LRFinderResult([1.0, 2.0], [2.0, 1.0], 1.0, 2.0)

    monkeypatch.setattr(lr_finder, "find_lr", record_changes)
    frozen = ["model=pretrained", "model.backbone=resnet18", "model.weights=null", "model.freeze=1.0", "trainer=cpu"]
    data = [argument for argument in overrides[1:] if argument.startswith("dataset")]
    assert main(["lr-find", *data, *frozen, "dataset.image_size=32", "trainer.max_epochs=1", "--steps=6"]) == 0
    assert sorted(name.rpartition(".")[2] for name in changed) == ["bias", "weight"]  # of the last layer


def test_find_lr_increases_all_groups_exponentially_and_keeps_their_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = Classifier(lr=0.02)

    result = find_lr(module, Batches(), steps=20, accelerator="cpu")

    assert result.default_lr == 0.02
    assert result.lrs[0] == pytest.approx(0.02 * MIN_LR_FACTOR)
    growth = (MAX_LR_FACTOR / MIN_LR_FACTOR) ** (1 / 19)
    assert [after / before for before, after in itertools.pairwise(result.lrs)] == pytest.approx(
        [growth] * (len(result.lrs) - 1)
    )
    assert [kernel_lr for kernel_lr, _ in module.group_lrs[: len(result.lrs)]] == pytest.approx(result.lrs)
    assert all(other_lr == pytest.approx(kernel_lr * 2e-3 / 0.02) for kernel_lr, other_lr in module.group_lrs)
    assert list(tmp_path.iterdir()) == []


def test_find_lr_counts_optimizer_steps_if_gradients_are_accumulated() -> None:
    module = Classifier()

    result = find_lr(module, Batches(), steps=6, accelerator="cpu", accumulate_grad_batches=2)

    assert len(result.losses) == len(result.lrs) == 6
    kernel_lrs = [kernel_lr for kernel_lr, _ in module.group_lrs]
    assert kernel_lrs == pytest.approx([result.lrs[step] for step in (0, 0, 1, 1, 2, 3, 3, 4, 4, 5)])


def test_find_lr_stops_when_the_loss_diverges() -> None:
    module = Classifier(lr=50.0)

    result = find_lr(module, Batches(), steps=400, accelerator="cpu")

    assert len(result.losses) == len(result.lrs) == len(module.group_lrs) - 1 < 399
    assert max(result.losses[len(result.losses) // 2 :]) <= 3 * min(result.losses)


def test_find_lr_with_invalid_trainer_arguments_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"^trainer: "):
        find_lr(Classifier(), Batches(), accelerator="cpu", precision="fp7")


def test_find_lr_raises_keyboard_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LRRangeTest, "on_train_batch_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        find_lr(Classifier(), Batches(), accelerator="cpu")


def test_steepest_lr_is_before_the_minimum_of_the_loss() -> None:
    assert steepest_lr([1, 2, 4, 8, 16, 32], [5.0, 4.9, 4.0, 3.0, 2.9, 9.0]) == 4
    with pytest.raises(DataError, match="does not decrease at any learning rate"):
        steepest_lr([1, 2, 4], [1.0, 2.0, 3.0])
