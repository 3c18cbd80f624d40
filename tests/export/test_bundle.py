"""Export of bundles and verification against the checkpoint."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.classifiers import HPARAMS, make_classifier, save_checkpoint
from PIL import Image

from cnn_classifier import Predictor
from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.errors import CheckpointError, ConfigError, DataError, StorageError
from cnn_classifier.export.bundle import export
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.backends.pytorch import PyTorchBackend

RESNET = {"_target_": "cnn_classifier.models.resnet.ResNet", "widths": [4, 8], "stem_channels": 4, "stem_stride": 1}


@pytest.mark.parametrize(
    ("to", "files"),
    [
        ("onnx", ["model.json", "model.onnx"]),
        ("torch", ["model.json", "model.pt2"]),
        ("safetensors", ["model.json", "model.safetensors"]),
    ],
)
def test_bundle_predictions_match_checkpoint(
    model: Path, photos: Path, tmp_path: Path, to: str, files: list[str]
) -> None:
    parity = export(model, tmp_path / "bundle", to=to, images=photos)

    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == files
    assert parity.same_class == parity.images == 9
    checkpoint, exported = (Predictor.load(path, device="cpu") for path in (model, tmp_path / "bundle"))
    images = sorted(photos.rglob("*.png"))
    for prediction, expected in zip(exported.predict(images), checkpoint.predict(images), strict=True):
        assert prediction.label == expected.label
        assert prediction.rejection_reason == expected.rejection_reason  # the bundle contains the thresholds
        assert prediction.probability == pytest.approx(expected.probability, abs=1e-5)
        assert prediction.similarity == pytest.approx(expected.similarity, abs=1e-5)
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "bundle").iterdir()}
    assert len(set(modes.values())) == 1, modes  # all respect the umask
    batch = np.stack([checkpoint.preprocess.load(path) for path in images])
    assert exported.predict_proba(batch) == pytest.approx(checkpoint.predict_proba(batch), abs=1e-5)


def test_fully_convolutional_network_is_exported_at_its_image_size(photos: Path, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    for to in ("onnx", "torch"):
        assert export(path, tmp_path / to, to=to, images=photos).same_class == 9


def test_any_size_graph_resizes_images_and_records_its_parity(tmp_path: Path, photos: Path) -> None:
    path = save_checkpoint(
        tmp_path / "best.ckpt", make_classifier(preprocess=HPARAMS["preprocess"] | {"resize": "crop"})
    )
    for file in photos.rglob("*.png"):
        Image.open(file).resize((40, 27)).save(file)

    export(path, tmp_path / "bundle", any_size=True, images=photos)

    checkpoint, exported = (Predictor.load(model, device="cpu") for model in (path, tmp_path / "bundle"))
    pixels = np.asarray(Image.open(next(photos.rglob("*.png"))))[np.newaxis]
    assert exported.predict_proba(pixels).max() == pytest.approx(checkpoint.predict(pixels[0]).probability, abs=0.02)
    parity = json.loads((tmp_path / "bundle" / "model.json").read_text())["extra"]["parity_of_any_size"]
    assert 0 < parity["max_difference"] < 0.02
    padded = save_checkpoint(
        tmp_path / "pad.ckpt", make_classifier(preprocess=HPARAMS["preprocess"] | {"resize": "pad"})
    )
    with pytest.raises(
        ConfigError, match=r"--any-size requires .* dataset\.resize=stretch or crop, got dataset\.resize=pad"
    ):
        export(padded, tmp_path / "padded", any_size=True, images=photos)


def test_model_json_contains_metadata_and_provenance(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", images=photos)

    metadata = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert metadata["class_names"] == ["birds", "cats", "dogs"]
    assert metadata["preprocess"] == HPARAMS["preprocess"]
    assert (metadata["temperature"], metadata["threshold"], metadata["min_similarity"]) == (1.7, 0.35, 0.9)
    assert metadata["extra"]["checkpoint"] == "best.ckpt"
    assert len(metadata["extra"]["sha256_of_checkpoint"]) == 64
    assert metadata["extra"]["parity"]["same_class"] == 9


def test_onnx_bundle_predicts_without_torch(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", images=photos)
    program = """
import sys
from cnn_classifier import Predictor
predictions = Predictor.load(sys.argv[1]).predict(sys.argv[2:])
print(len(predictions), "torch" in sys.modules)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "bundle"), *map(str, photos.rglob("*.png"))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "9 False\n"


def test_export_with_different_predictions_is_not_written(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_predict = PyTorchBackend.predict

    def predict_shifted(backend: PyTorchBackend, pixels: Pixels) -> ModelOutput:
        probabilities, similarity = original_predict(backend, pixels)
        return ModelOutput(np.roll(probabilities, 1, axis=1), similarity)

    monkeypatch.setattr(PyTorchBackend, "predict", predict_shifted)

    with pytest.raises(
        CheckpointError,
        match=r"Nothing was exported: the predictions differ from the checkpoint: same class for 0 of 9",
    ):
        export(model, tmp_path / "bundle", images=photos)

    assert not (tmp_path / "bundle").exists()
    assert not list(tmp_path.glob(".bundle*"))


def test_int8_export_is_refused_if_it_loses_accuracy(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    # The accuracy of an untrained network is arbitrary.
    monkeypatch.setattr("cnn_classifier.export.parity.MAX_ACCURACY_LOSS", 1.0)
    export(path, tmp_path / "bundle", int8=True, images=photos)
    assert b"QuantizeLinear" in (tmp_path / "bundle" / "model.onnx").read_bytes()

    monkeypatch.setattr("cnn_classifier.export.parity.MAX_ACCURACY_LOSS", -1.1)
    with pytest.raises(CheckpointError, match=r"8-bit integers lose more than .* percentage points of accuracy"):
        export(path, tmp_path / "another", int8=True, images=photos)
    assert not (tmp_path / "another").exists()


def test_int8_export_with_one_image_raises_data_error(model: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "single" / "cats"
    folder.mkdir(parents=True)
    next((photos / "cats").iterdir()).rename(folder / "cat.png")
    with pytest.raises(DataError, match=r"--int8 requires at least 2 labeled images .* got 1\."):
        export(model, tmp_path / "bundle", int8=True, images=tmp_path / "single")


def test_export_of_a_run_is_verified_on_its_test_images(model: Path, photos: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "checkpoints").mkdir(parents=True)
    model.rename(run_dir / "checkpoints" / "best.ckpt")
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.png"))]
    (run_dir / "predictions.csv").write_text("\n".join(["path,label", *rows, "missing.png,cats"]))

    assert export(run_dir, tmp_path / "bundle").images == 9


@pytest.mark.parametrize(
    ("options", "error_type", "message"),
    [
        ({"int8": True, "to": "torch"}, ConfigError, r"--int8 requires --to onnx, got --to torch\."),
        ({"images": None}, DataError, r"no longer exist\. Pass labeled images with --images FOLDER\."),
        ({"out": "full"}, StorageError, r"full is not empty\. Choose another directory with --out"),
    ],
)
def test_invalid_export_raises_and_writes_nothing(
    model: Path, photos: Path, tmp_path: Path, options: dict[str, Any], error_type: type[Exception], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    out = tmp_path / options.pop("out", "bundle")

    with pytest.raises(error_type, match=message):
        export(model, out, **{"images": photos} | options)

    assert not (tmp_path / "bundle").exists()
    assert (tmp_path / "full" / "mine").exists()
