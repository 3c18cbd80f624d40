"""The probe: a linear head in closed form with out-of-fold predictions, on features that are computed once."""

from pathlib import Path

import pytest
import torch
from helpers.folders import MakeFolder
from torch import Tensor

from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.probe import features, fit_probe
from cnn_classifier.training.probe.features import get_features, hash_network
from cnn_classifier.training.probe.head import PENALTIES, RidgePath, fit_head

TINY = {"_target_": "cnn_classifier.models.resnet.ResNet", "widths": [8, 16], "stem_channels": 8}


def make_features(
    num_images: int, num_features: int, num_classes: int, *, distance: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Return Gaussian features, each class around a center of its own, and the labels."""
    generator = torch.Generator().manual_seed(0)
    centers = distance * torch.randn(num_classes, num_features, generator=generator) / num_features**0.5
    labels = torch.arange(num_images) % num_classes
    return centers[labels] + torch.randn(num_images, num_features, generator=generator), labels


@pytest.mark.parametrize("num_features", [6, 60])  # fewer and more than images
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_regression_is_that_of_the_normal_equations(num_features: int, penalty: float) -> None:
    rows, labels = make_features(40, num_features, 3)
    rows = rows.double()
    weight, bias = RidgePath(rows, labels, 3).coefficients(penalty)

    targets = torch.nn.functional.one_hot(labels, 3).double()
    centered = rows - rows.mean(dim=0)
    gram = centered.T @ centered + penalty * len(rows) * torch.eye(num_features).double()
    expected = torch.linalg.solve(gram, centered.T @ (targets - targets.mean(dim=0)))
    assert torch.allclose(weight, expected, atol=1e-8)
    assert torch.allclose(bias, targets.mean(dim=0) - rows.mean(dim=0) @ expected, atol=1e-8)


def test_head_has_calibrated_logits_and_an_unbiased_out_of_fold_accuracy() -> None:
    rows, labels = make_features(1200, 20, 4, distance=2.0)
    new_rows, new_labels = rows[600:], labels[600:]
    head = fit_head(rows[:600], labels[:600], 4)

    logits = head.logits(new_rows)
    accuracy = float((logits.argmax(dim=1) == new_labels).float().mean())
    loss = float(torch.nn.functional.cross_entropy(logits, new_labels))
    assert 0.5 < accuracy < 0.97
    assert float(head.correct.float().mean()) == pytest.approx(accuracy, abs=0.08)
    assert head.loss == pytest.approx(loss, abs=0.1)
    assert head.penalty in PENALTIES


def test_features_without_information_give_the_chance_level() -> None:
    rows, labels = make_features(200, 50, 2, distance=0.0)
    head = fit_head(rows, labels, 2)
    assert head.loss == pytest.approx(0.693, abs=0.02)
    assert 0.35 < float(head.correct.float().mean()) < 0.65


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1],
        [0, 0, 0, 0, 0, 0, 1],  # a class with a single image
        [0, 0, 2, 2, 2],  # a class without images
        [0] * 5 + [1] * 5,
    ],
)
def test_head_fits_few_and_rare_images(labels: list[int]) -> None:
    rows = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0))
    rows[:, 7] = 1.0  # a constant feature
    head = fit_head(rows, torch.tensor(labels), 3)
    assert head.logits(rows).isfinite().all()
    assert (head.weight[:, 7].abs() < 1e-3).all()
    assert len(head.correct) == len(labels)


def prepare(root: Path, **options: object) -> tuple[ImageFolderDataModule, ImageClassifier]:
    """Return the prepared images, and a classifier with random weights."""
    data = ImageFolderDataModule(root, image_size=16, **options)
    data.prepare_data()
    torch.manual_seed(0)
    return data, ImageClassifier(TINY, class_names=data.class_names, preprocess=data.preprocess)


def test_fitted_layer_classifies_the_images(make_folder: MakeFolder, home: Path) -> None:
    data, module = prepare(make_folder({"cats": 20, "dogs": 20}))
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    head = fit_probe(module, data)

    assert head is not None
    assert bool(head.correct.all())
    changed = {name for name, value in module.network.state_dict().items() if not torch.equal(value, before[name])}
    assert len(changed) == 2  # weight and bias of the last layer
    data.setup("fit")
    images, labels = next(iter(data.build_loader("val")))
    assert torch.equal(module.eval()(images).argmax(dim=1), labels)


def test_features_are_computed_once_for_each_image_and_network(
    make_folder: MakeFolder, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, module = prepare(make_folder({"cats": 10, "dogs": 10}))
    prepared = data.prepared
    paths = [sample.path for sample in prepared.splits["train"]]
    computed: list[int] = []
    compute_features = features.compute_features

    def count(module: ImageClassifier, store: object, paths: list[Path]) -> Tensor | None:
        computed.append(len(paths))
        return compute_features(module, store, paths)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "compute_features", count)
    first = get_features(module, prepared.store, prepared.digests, paths[:-3])
    again = get_features(module, prepared.store, prepared.digests, paths)
    assert first is not None
    assert again is not None
    assert torch.equal(first, again[:-3])
    assert computed == [len(paths) - 3, 3]
    path = next((home / "features").glob("*.npz"))
    path.write_bytes(b"damaged")
    get_features(module, prepared.store, prepared.digests, paths)
    assert computed[2:] == [len(paths)]


def test_network_and_preprocessing_determine_the_cached_features_but_the_head_does_not(
    make_folder: MakeFolder, home: Path
) -> None:
    data, module = prepare(make_folder({"cats": 10, "dogs": 10}))
    name = hash_network(module)
    fit_probe(module, data)
    assert hash_network(module) == name
    with torch.no_grad():
        next(module.network.parameters()).mul_(2)
    assert hash_network(module) != name
    larger = ImageFolderDataModule(data.config.root, image_size=20)
    larger.prepare_data()
    torch.manual_seed(0)
    assert hash_network(ImageClassifier(TINY, class_names=["a", "b"], preprocess=larger.preprocess)) != name
