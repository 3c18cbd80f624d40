"""The Python API: the Lightning classes with a plain `Trainer`, `Predictor`, `train` and `load_config`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.folders import MakeFolder
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from cnn_classifier import ImageClassifier, ImageFolderDataModule, Prediction, Predictor, load_config, train
from cnn_classifier.config.compose import to_container
from cnn_classifier.config.instantiate import instantiate_all
from cnn_classifier.data.loading.augment import PRESETS
from cnn_classifier.errors import CheckpointError, ConfigError, DataError

# Advice and deprecations of Lightning itself, which `train` filters and a user's own script sees.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*LeafSpec.*:FutureWarning",
    "ignore:.*does not have many workers.*",
    "ignore:.*smaller than the logging interval.*",
    "ignore:.*Checkpoint directory.*",
)
TINY = {"_target_": "cnn_classifier.models.cnn.CNN", "widths": [4], "hidden_dim": 4}


@pytest.fixture
def photos(make_folder: MakeFolder) -> Path:
    return make_folder({"cats": 20, "dogs": 20})


def make_trainer(folder: Path, **arguments: Any) -> Trainer:
    values = {"max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    return Trainer(**values | {"enable_model_summary": False, "default_root_dir": folder} | arguments)


def fit(photos: Path, folder: Path, **arguments: Any) -> tuple[Trainer, ImageClassifier, ImageFolderDataModule]:
    """Fit a tiny network on a folder with a plain `Trainer`."""
    data = ImageFolderDataModule(photos, image_size=16, batch_size=8, augment="light", seed=1)
    model = ImageClassifier(TINY, num_classes=data.num_classes, image_size=data.image_size, **arguments)
    trainer = make_trainer(folder)
    trainer.fit(model, datamodule=data)
    return trainer, model, data


def test_design_example_runs_with_a_plain_trainer(photos: Path, tmp_path: Path) -> None:
    data = ImageFolderDataModule(photos, image_size=16, batch_size=8, augment="light", seed=1)
    adamw = {"_target_": "torch.optim.AdamW", "lr": 1e-3, "weight_decay": 0.05}
    model = ImageClassifier("cnn", num_classes=data.num_classes, image_size=data.image_size, optimizer=adamw)
    trainer = make_trainer(tmp_path)
    trainer.fit(model, datamodule=data)
    test_metrics = trainer.test(model, datamodule=data, verbose=False)[0]
    best_test_metrics = trainer.test(datamodule=data, ckpt_path="best", verbose=False)[0]
    val_metrics = trainer.validate(model, datamodule=data, verbose=False)[0]
    probabilities = torch.cat(trainer.predict(model, datamodule=data))
    path = trainer.checkpoint_callback.best_model_path

    assert {"test/loss", "test/accuracy", "test/f1_macro"} == test_metrics.keys() == best_test_metrics.keys()
    assert {"val/loss", "val/accuracy", "val/f1_macro"} == val_metrics.keys()
    assert probabilities.shape == (8, 2)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(8))
    loaded = ImageClassifier.load_from_checkpoint(path)
    assert loaded.class_names == ["cats", "dogs"]
    assert loaded.preprocess == data.preprocess
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    prediction = Predictor.load(path, device="cpu").predict(photos / "cats" / "000.png")
    assert prediction.label in ("cats", "dogs")
    assert prediction.probability == pytest.approx(dict(prediction.top_k)[prediction.label])


def test_predictor_and_trainer_predict_agree(photos: Path, tmp_path: Path) -> None:
    trainer, model, data = fit(photos, tmp_path)
    probabilities = torch.cat(trainer.predict(model, datamodule=data))
    predictor = Predictor.load(trainer.checkpoint_callback.best_model_path, device="cpu")

    predictions = predictor.predict([sample.path for sample in data.splits["test"]], threshold=0)

    expected = [dict(prediction.top_k)["dogs"] for prediction in predictions]
    assert probabilities[:, 1].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_network_learns_a_tiny_folder_with_a_plain_trainer(photos: Path, tmp_path: Path) -> None:
    data = ImageFolderDataModule(photos, image_size=32, batch_size=8, augment="none")
    model = ImageClassifier("resnet", num_classes=2, optimizer={"_target_": "torch.optim.AdamW", "lr": 0.01})
    trainer = make_trainer(tmp_path, max_epochs=8)
    trainer.fit(model, datamodule=data)
    assert trainer.test(model, datamodule=data, verbose=False)[0]["test/accuracy"] == 1.0


def test_predictor_accepts_paths_images_arrays_bytes_iterables_and_folders(photos: Path, tmp_path: Path) -> None:
    trainer, _, _ = fit(photos, tmp_path)
    predictor = Predictor.load(trainer.checkpoint_callback.best_model_path, device="cpu")
    path = photos / "cats" / "000.png"
    image = Image.open(path).convert("RGB")
    single = [predictor.predict(source) for source in (path, str(path), image, np.asarray(image), path.read_bytes())]

    assert all(isinstance(prediction, Prediction) for prediction in single)
    assert [prediction.probability for prediction in single] == pytest.approx([single[0].probability] * 5)
    assert [prediction.path for prediction in single] == [str(path), str(path), None, None, None]
    assert predictor.predict([path, image])[1].probability == pytest.approx(single[0].probability)
    assert [prediction.path for prediction in predictor.predict(photos / "cats")] == sorted(
        str(file) for file in (photos / "cats").iterdir()
    )
    assert predictor.predict(tmp_path / "missing.png").error is not None
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        predictor.predict(tmp_path / "empty")


def test_predict_dir_is_predicted_in_the_order_of_its_paths(
    photos: Path, tmp_path: Path, make_folder: MakeFolder
) -> None:
    trainer, model, _ = fit(photos, tmp_path)
    folder = make_folder({"new": 5}, name="inbox")
    data = ImageFolderDataModule(photos, image_size=16, batch_size=2, predict_dir=folder)

    probabilities = torch.cat(trainer.predict(model, datamodule=data))

    predictor = Predictor.load(trainer.checkpoint_callback.best_model_path, device="cpu")
    expected = [dict(prediction.top_k)["dogs"] for prediction in predictor.predict(folder, threshold=0)]
    assert probabilities[:, 1].tolist() == pytest.approx(expected, abs=1e-5)


def test_split_folders_are_given_by_name(make_folder: MakeFolder) -> None:
    root = make_folder(
        {"learn/cats": 6, "learn/dogs": 6, "check/cats": 2, "check/dogs": 2, "exam/cats": 3, "exam/dogs": 3}
    )
    data = ImageFolderDataModule(
        root, image_size=16, batch_size=4, train_dir="learn", val_dir="check", test_dir="exam", augment=[]
    )
    data.setup("fit")
    assert data.class_counts == {"train": [6, 6], "val": [2, 2], "test": [3, 3]}


def test_constructor_reads_nothing(tmp_path: Path) -> None:
    data = ImageFolderDataModule(tmp_path / "missing")
    with pytest.raises(DataError, match="missing"):
        _ = data.num_classes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": "auto"}, "image_size=auto is resolved by train"),
        ({"batch_size": "auto"}, "batch_size=auto is resolved by train"),
        ({"augment": "auto"}, "augment=auto is not a preset"),
        ({"resize": "zoom"}, "dataset.resize=zoom"),
    ],
)
def test_invalid_datamodule_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageFolderDataModule("photos", **arguments)


@pytest.mark.parametrize("name", ["none", "light", "strong", "no_flip"])
def test_augmentation_presets_equal_the_configuration(name: str) -> None:
    config = to_container(load_config([f"augment={name}"]).augment)
    configured = instantiate_all(config, torch.nn.Module)
    assert [(type(t), repr(vars(t))) for t in PRESETS[name]()] == [(type(t), repr(vars(t))) for t in configured]


@pytest.mark.parametrize("val_is_given", [True, False])
def test_plain_image_folder_is_decoded_once(make_folder: MakeFolder, tmp_path: Path, val_is_given: bool) -> None:
    root = make_folder({"train/cats": 10, "train/dogs": 10, "test/cats": 3, "test/dogs": 3})
    train_set, test_set = ImageFolder(root / "train"), ImageFolder(root / "test")
    val_set = test_set if val_is_given else None
    data = ImageFolderDataModule.from_datasets(
        train_set, val_set, test_set, image_size=16, batch_size=4, augment="none"
    )
    model = ImageClassifier(TINY, num_classes=data.num_classes, image_size=16)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(model, datamodule=data)

    assert data.class_names == ["cats", "dogs"]
    assert data.class_counts["test"] == [3, 3]
    assert data.class_counts["val"] == ([3, 3] if val_is_given else [1, 1])
    assert type(data.prepared.store).__name__ == "CachedImages"
    assert "test/accuracy" in trainer.test(model, datamodule=data, verbose=False)[0]


class Pairs(Dataset[Any]):
    """A map-style dataset of (image, label) in a given form."""

    def __init__(self, form: str, count: int = 24) -> None:
        self.form, self.count, self.reads = form, count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        self.reads += 1
        pixels = np.full((20, 24, 3), 40 + 120 * (index % 2), np.uint8)
        if self.form == "pil":
            return Image.fromarray(pixels), index % 2
        if self.form == "array":
            return pixels, index % 2
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)
        return (tensor if self.form == "uint8" else tensor / 255), index % 2


@pytest.mark.parametrize("form", ["pil", "array", "uint8", "float"])
def test_map_style_dataset_trains_whatever_the_form_of_its_images(form: str, tmp_path: Path) -> None:
    dataset = Pairs(form)
    data = ImageFolderDataModule.from_datasets(
        dataset, test=Pairs(form, 8), image_size=32, batch_size=4, augment="none"
    )
    model = ImageClassifier(
        "resnet", num_classes=data.num_classes, optimizer={"_target_": "torch.optim.AdamW", "lr": 0.01}
    )
    trainer = make_trainer(tmp_path, max_epochs=6)
    trainer.fit(model, datamodule=data)

    assert data.class_names == ["0", "1"]
    assert data.class_counts == {"train": [11, 11], "val": [1, 1], "test": [4, 4]}
    assert trainer.test(model, datamodule=data, verbose=False)[0]["test/accuracy"] == 1.0
    assert dataset.reads > 3 * len(dataset)  # read in every epoch: transforms may be random


def test_image_folder_with_a_transform_keeps_its_transform(photos: Path) -> None:
    black = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Lambda(torch.zeros_like)])
    data = ImageFolderDataModule.from_datasets(ImageFolder(photos, transform=black), image_size=16, batch_size=4)
    data.setup("fit")
    images, _ = next(iter(data.train_dataloader()))
    assert images.max() == 0


def list_batches(data: ImageFolderDataModule) -> list[Any]:
    data.setup("fit")
    return list(data.train_dataloader())


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([(np.zeros((8, 8, 3), np.uint8), -1)] * 4, "has label -1; expected a class index"),
        ([("photo.jpg", "cat")] * 4, "has label 'cat'; expected a class index"),
        ([(torch.full((3, 8, 8), 2.0), 0), (torch.zeros(3, 8, 8), 1)] * 20, r"must be in \[0, 1\]"),
        (
            [(np.zeros((8, 8, 7)), 0), (np.zeros((8, 8, 3), np.uint8), 1)] * 20,
            "Item [0-9]+ of the dataset: unsupported array",
        ),
    ],
    ids=["negative label", "text label", "normalized tensor", "not an image"],
)
def test_invalid_dataset_item_is_named(items: list[Any], message: str) -> None:
    data = ImageFolderDataModule.from_datasets(items, image_size=8, batch_size=4)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        list_batches(data)


def test_missing_test_dataset_is_an_error_in_test_only(tmp_path: Path) -> None:
    data = ImageFolderDataModule.from_datasets(Pairs("pil"), image_size=16, batch_size=4, augment="none")
    model = ImageClassifier(TINY, num_classes=2, image_size=16)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(model, datamodule=data)
    with pytest.raises(ConfigError, match="no images for the test split"):
        trainer.test(model, datamodule=data, verbose=False)


def test_classifier_trains_on_plain_dataloaders_and_its_checkpoint_predicts(tmp_path: Path) -> None:
    images = torch.cat([torch.zeros(16, 3, 16, 16), torch.ones(16, 3, 16, 16)])
    loader = DataLoader(TensorDataset(images, torch.arange(2).repeat_interleave(16)), batch_size=8)
    model = ImageClassifier(TINY, num_classes=2, image_size=16)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(model, loader, loader)

    predictor = Predictor.load(trainer.checkpoint_callback.best_model_path, device="cpu")
    assert list(predictor.class_names) == ["0", "1"]
    assert predictor.predict(np.zeros((16, 16, 3), np.uint8)).label in ("0", "1")


def test_checkpoint_loads_in_a_new_process_without_hydra(photos: Path, tmp_path: Path) -> None:
    trainer, _, _ = fit(photos, tmp_path)
    program = """
import sys
from cnn_classifier import ImageClassifier, Predictor
model = ImageClassifier.load_from_checkpoint(sys.argv[1])
print(Predictor.load(sys.argv[1]).predict(sys.argv[2]).label in model.class_names, "hydra" in sys.modules)
"""
    path = trainer.checkpoint_callback.best_model_path
    command = [sys.executable, "-c", program, path, str(photos / "cats" / "000.png")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["True", "False"]


def test_class_names_that_differ_from_the_checkpoint_are_a_data_error(
    photos: Path, tmp_path: Path, make_folder: MakeFolder
) -> None:
    trainer, model, _ = fit(photos, tmp_path)
    others = ImageFolderDataModule(make_folder({"birds": 8, "cows": 8}, name="others"), image_size=16, batch_size=4)
    with pytest.raises(DataError, match=r"birds.*cats"):
        trainer.test(model, datamodule=others, verbose=False)
    larger = ImageFolderDataModule(photos, image_size=24, batch_size=4)
    with pytest.raises(DataError, match=r"image_size=24.*image_size=16"):
        trainer.test(model, datamodule=larger, verbose=False)


def test_untrusted_class_of_a_checkpoint_is_not_imported(photos: Path, tmp_path: Path) -> None:
    trainer, _, _ = fit(photos, tmp_path)
    path = trainer.checkpoint_callback.best_model_path
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["model"] = {"_target_": "this.module.does.not.exist"}
    torch.save(checkpoint, path)
    for load in (ImageClassifier.load_from_checkpoint, Predictor.load):
        with pytest.raises(
            CheckpointError, match=r"this\.module\.does\.not\.exist, which is not part of cnn_classifier"
        ):
            load(path)


@pytest.mark.parametrize("target", ["torchvision.models.resnet18", "torchvision.models.mobilenet_v3_small"])
def test_torchvision_builder_trains_and_its_checkpoint_loads(photos: Path, tmp_path: Path, target: str) -> None:
    data = ImageFolderDataModule(photos, image_size=32, batch_size=8)
    model = ImageClassifier({"_target_": target}, num_classes=2)
    trainer = make_trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=1)
    trainer.fit(model, datamodule=data)
    path = trainer.checkpoint_callback.best_model_path
    assert Predictor.load(path, device="cpu").predict(photos / "cats" / "000.png").error is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "cnnn", "num_classes": 2}, "model=cnnn does not exist; expected one of: baseline, cnn"),
        ({"model": "cnn"}, "requires num_classes or class_names"),
        ({"model": {"_target_": "torchvision.models.resnet18"}, "num_classes": 2, "channels": 1}, "requires RGB"),
        ({"model": {"_target_": "subprocess.run", "args": ["true"]}, "num_classes": 2}, "is not allowed here"),
        (
            {"model": {"_target_": "torch.nn.Flatten", "_partial_": True}, "num_classes": 2},
            "_partial_ is not supported",
        ),
        ({"model": "resnet", "num_classes": 2, "loss": {"class_weights": [1.0]}}, "expected 2 values, one per class"),
    ],
)
def test_invalid_classifier_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageClassifier(**arguments)


def test_train_runs_a_loaded_config_and_its_trainer_node_is_lightnings(photos: Path, tmp_path: Path) -> None:
    overrides = ["dataset=folder", f"dataset.root={photos}", "model=cnn", "model.widths=[4]", "dataset.image_size=16"]
    config = load_config([*overrides, "trainer=cpu", "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}"])
    Trainer(**to_container(config.trainer), logger=False)

    result = train(config)

    assert result.run_dir == tmp_path / "run"
    assert ImageClassifier.load_from_checkpoint(result.checkpoint).class_names == ["cats", "dogs"]
    assert ImageClassifier.load_from_checkpoint(result.run_dir).class_names == ["cats", "dogs"]


def test_lightning_cli_fits_a_folder_and_its_checkpoint_loads_without_it(photos: Path, tmp_path: Path) -> None:
    program = """
import sys
from lightning.pytorch.cli import LightningCLI
from cnn_classifier import ImageClassifier, ImageFolderDataModule
LightningCLI(ImageClassifier, ImageFolderDataModule)
"""
    arguments = {
        "data.root": photos, "data.image_size": 16, "data.batch_size": 8, "model.model": "cnn", "model.num_classes": 2,
        "model.image_size": 16, "trainer.max_epochs": 1, "trainer.default_root_dir": tmp_path,
        "trainer.logger": "false", "trainer.accelerator": "cpu",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", program, "fit", *(f"--{k}={v}" for k, v in arguments.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = next(tmp_path.rglob("*.ckpt"))
    assert "_instantiator" not in torch.load(path, weights_only=True)["hyper_parameters"]
    assert ImageClassifier.load_from_checkpoint(path).class_names == ["cats", "dogs"]
