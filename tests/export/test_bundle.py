"""A bundle answers as its checkpoint does, and one that would not is never written."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.classifiers import HPARAMS, MaliciousPickle, make_classifier, save_checkpoint
from PIL import Image

from cnn_classifier import Predictor
from cnn_classifier.cli.main import main
from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.errors import CheckpointError, ConfigError, DataError, StorageError
from cnn_classifier.export.bundle import export
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.backends.pytorch import PyTorchBackend
from cnn_classifier.models.feature_bank import MIN_FEATURES, FeatureBank
from cnn_classifier.training.checkpoints import add_calibration

RESNET = {"_target_": "cnn_classifier.models.resnet.ResNet", "widths": [4, 8], "stem_channels": 4, "stem_stride": 1}


@pytest.fixture
def photos(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"birds": 3, "cats": 3, "dogs": 3})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier())
    known = FeatureBank(torch.rand(MIN_FEATURES, 4))
    add_calibration(path, {"temperature": 1.7, "threshold": 0.35, "min_similarity": 0.9}, known)
    return path


@pytest.mark.parametrize(
    ("to", "files"),
    [
        ("onnx", ["model.json", "model.onnx"]),
        ("torch", ["model.json", "model.pt2"]),
        ("safetensors", ["model.json", "model.safetensors"]),
    ],
)
def test_a_bundle_answers_as_its_checkpoint(
    model: Path, photos: Path, tmp_path: Path, to: str, files: list[str]
) -> None:
    parity = export(model, tmp_path / "bundle", to=to, images=photos)

    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == files
    assert parity.same_class == parity.images == 9
    before, after = (Predictor.load(path, device="cpu") for path in (model, tmp_path / "bundle"))
    images = sorted(photos.rglob("*.png"))
    for ours, theirs in zip(after.predict(images), before.predict(images), strict=True):
        assert ours.label == theirs.label  # `unknown` as well: the threshold travels
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-5)
        assert ours.similarity == pytest.approx(theirs.similarity, abs=1e-5)
    many = np.stack([before.preprocess.load(path) for path in images])
    assert after.predict_proba(many) == pytest.approx(before.predict_proba(many), abs=1e-5)  # of any number at once


def test_a_network_of_any_size_is_exported_at_the_size_it_was_tested_at(photos: Path, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    for to in ("onnx", "torch"):
        assert export(path, tmp_path / to, to=to, images=photos).same_class == 9


def test_a_graph_can_take_images_of_any_size_and_tells_how_exact_that_is(tmp_path: Path, photos: Path) -> None:
    path = save_checkpoint(
        tmp_path / "best.ckpt", make_classifier(preprocess=HPARAMS["preprocess"] | {"resize": "crop"})
    )
    for file in photos.rglob("*.png"):
        Image.open(file).resize((40, 27)).save(file)

    export(path, tmp_path / "bundle", any_size=True, images=photos)

    before, after = (Predictor.load(model, device="cpu") for model in (path, tmp_path / "bundle"))
    pixels = np.asarray(Image.open(next(photos.rglob("*.png"))))[np.newaxis]
    assert after.predict_proba(pixels).max() == pytest.approx(before.predict(pixels[0])[0].probability, abs=0.02)
    stated = json.loads((tmp_path / "bundle" / "model.json").read_text())["extra"]["parity_of_any_size"]
    assert 0 < stated["max_difference"] < 0.02
    padding = save_checkpoint(
        tmp_path / "pad.ckpt", make_classifier(preprocess=HPARAMS["preprocess"] | {"resize": "pad"})
    )
    with pytest.raises(ConfigError, match=r"--any-size goes with dataset\.resize=stretch or crop"):
        export(padding, tmp_path / "padded", any_size=True, images=photos)


def test_the_card_tells_where_a_bundle_comes_from(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", images=photos)

    card = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert card["class_names"] == ["birds", "cats", "dogs"]
    assert card["preprocess"] == HPARAMS["preprocess"]
    assert (card["temperature"], card["threshold"], card["min_similarity"]) == (1.7, 0.35, 0.9)
    assert card["extra"]["checkpoint"] == "best.ckpt"
    assert len(card["extra"]["sha256_of_checkpoint"]) == 64
    assert card["extra"]["parity"]["same_class"] == 9


def test_the_onnx_bundle_answers_without_torch(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", images=photos)
    asked = """
import sys
from cnn_classifier import Predictor
answers = Predictor.load(sys.argv[1]).predict(sys.argv[2:])
print(len(answers), "torch" in sys.modules)
"""
    command = [sys.executable, "-c", asked, str(tmp_path / "bundle"), *map(str, photos.rglob("*.png"))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "9 False\n"


def test_an_export_that_answers_otherwise_is_not_written(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = PyTorchBackend.predict

    def shifted(engine: PyTorchBackend, pixels: Pixels) -> ModelOutput:
        probabilities, familiarity = straight(engine, pixels)
        return ModelOutput(np.roll(probabilities, 1, axis=1), familiarity)

    monkeypatch.setattr(PyTorchBackend, "predict", shifted)

    with pytest.raises(
        CheckpointError, match=r"nothing was exported: it answers otherwise than the checkpoint: 0 of 9"
    ):
        export(model, tmp_path / "bundle", images=photos)

    assert not (tmp_path / "bundle").exists()
    assert not list(tmp_path.glob(".bundle*"))


def test_8_bit_integers_are_written_if_they_keep_the_accuracy_and_refused_if_not(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    monkeypatch.setattr(
        "cnn_classifier.export.parity.MAX_ACCURACY_LOSS", 1.0
    )  # a network that never learnt may lose anything
    export(path, tmp_path / "bundle", int8=True, images=photos)
    assert b"QuantizeLinear" in (tmp_path / "bundle" / "model.onnx").read_bytes()

    monkeypatch.setattr("cnn_classifier.export.parity.MAX_ACCURACY_LOSS", -1.1)
    with pytest.raises(CheckpointError, match=r"8-bit integers lose more than .* points of accuracy"):
        export(path, tmp_path / "another", int8=True, images=photos)
    assert not (tmp_path / "another").exists()


def test_one_image_is_not_enough_for_8_bit_integers(model: Path, photos: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "cats"
    alone.mkdir(parents=True)
    next((photos / "cats").iterdir()).rename(alone / "cat.png")
    with pytest.raises(DataError, match="--int8 needs at least 2 images to be tuned and tried on; there is 1"):
        export(model, tmp_path / "bundle", int8=True, images=tmp_path / "alone")


def test_a_run_is_tried_on_its_own_test_images(model: Path, photos: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "checkpoints").mkdir(parents=True)
    model.rename(run_dir / "checkpoints" / "best.ckpt")
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.png"))]
    (run_dir / "predictions.csv").write_text("\n".join(["path,label", *rows, "gone.png,cats"]))

    assert export(run_dir, tmp_path / "bundle").images == 9


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ({"int8": True, "to": "torch"}, ConfigError, r"--int8 goes with --to onnx only; this is --to torch"),
        ({"images": None}, DataError, r"tested on are gone; give some with --images FOLDER"),
        ({"out": "full"}, StorageError, r"full holds something already; choose another folder"),
    ],
)
def test_what_cannot_be_exported_is_told(
    model: Path, photos: Path, tmp_path: Path, words: dict[str, Any], kind: type[Exception], told: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    out = tmp_path / words.pop("out", "bundle")

    with pytest.raises(kind, match=told):
        export(model, out, **{"images": photos} | words)

    assert not (tmp_path / "bundle").exists()
    assert (tmp_path / "full" / "mine").exists()


def test_a_bundle_that_is_damaged_is_one_line_and_exit_code_4(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for to, file in {"onnx": "model.onnx", "torch": "model.pt2", "safetensors": "model.safetensors"}.items():
        export(model, tmp_path / to, to=to, images=photos)
        whole = (tmp_path / to / file).read_bytes()
        (tmp_path / to / file).write_bytes(whole[: len(whole) // 2])
        assert main(["predict", str(tmp_path / to), str(photos)]) == 4
        assert "export the bundle again" in capsys.readouterr().err
    (tmp_path / "onnx" / "model.json").write_text("{")
    assert main(["predict", str(tmp_path / "onnx"), str(photos)]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bundle_cannot_name_a_network_that_is_not_ours(model: Path, photos: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    export(model, tmp_path / "bundle", to="safetensors", images=photos)
    path = tmp_path / "bundle" / "model.safetensors"
    evil = dict(make_classifier().hparams) | {"model": {"_target_": "os.mkdir", "path": str(tmp_path / "sentinel")}}
    save_file(load_file(path), path, metadata={"hyper_parameters": json.dumps(evil)})

    with pytest.raises(CheckpointError, match=r"names os\.mkdir, which is not part of cnn_classifier"):
        Predictor.load(tmp_path / "bundle")

    assert not (tmp_path / "sentinel").exists()


def rewritten(path: Path, change: Callable[[str, bytes], bytes], **added: bytes) -> None:
    """Change the members of a zip archive, and add some to its first folder."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
        for name, content in added.items():
            archive.writestr(f"{root}/data/aotinductor/{name}", content)


def test_a_program_runs_nothing_but_operators(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", to="torch", images=photos)
    path = tmp_path / "bundle" / "model.pt2"
    whole, sentinel = path.read_bytes(), tmp_path / "sentinel"
    evil = io.BytesIO()
    torch.save(MaliciousPickle(sentinel), evil)

    rewritten(path, lambda name, content: evil.getvalue() if name.endswith(".pt") else content)
    with pytest.raises(CheckpointError, match=r"no program that can be run"):
        Predictor.load(tmp_path / "bundle")

    path.write_bytes(whole)
    rewritten(path, lambda name, content: content, model=b"a compiled library")
    with pytest.raises(CheckpointError, match=r"holds compiled code, which is not run"):
        Predictor.load(tmp_path / "bundle")

    path.write_bytes(whole)
    rewritten(path, lambda name, content: content.replace(b"torch.ops.aten.softmax.int", b"torch.cuda.synchronize"))
    with pytest.raises(CheckpointError, match=r"which is no operator of ATen|no program that can be run"):
        Predictor.load(tmp_path / "bundle")
    assert not sentinel.exists()


def test_a_gpu_is_not_for_graphs(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", images=photos)

    with pytest.raises(ConfigError, match=r"device cuda: this bundle runs on the CPU; expected cpu, or a checkpoint"):
        Predictor.load(tmp_path / "bundle", device="cuda")
