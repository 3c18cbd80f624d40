"""Loading of damaged and untrusted bundles."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.classifiers import MaliciousPickle, make_classifier

from cnn_classifier import Predictor
from cnn_classifier.cli.main import main
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.export.bundle import export


def test_damaged_bundle_exits_4_with_one_line(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for to, name in {"onnx": "model.onnx", "torch": "model.pt2", "safetensors": "model.safetensors"}.items():
        export(model, tmp_path / to, to=to, images=photos)
        content = (tmp_path / to / name).read_bytes()
        (tmp_path / to / name).write_bytes(content[: len(content) // 2])
        assert main(["predict", str(tmp_path / to), str(photos)]) == 4
        assert "Export the bundle again." in capsys.readouterr().err
    (tmp_path / "onnx" / "model.json").write_text("{")
    assert main(["predict", str(tmp_path / "onnx"), str(photos)]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_bundle_with_untrusted_target_raises_checkpoint_error(model: Path, photos: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    export(model, tmp_path / "bundle", to="safetensors", images=photos)
    path = tmp_path / "bundle" / "model.safetensors"
    hparams = dict(make_classifier().hparams) | {"model": {"_target_": "os.mkdir", "path": str(tmp_path / "sentinel")}}
    save_file(load_file(path), path, metadata={"hyper_parameters": json.dumps(hparams)})

    with pytest.raises(CheckpointError, match=r"names os\.mkdir, which is not part of cnn_classifier"):
        Predictor.load(tmp_path / "bundle")

    assert not (tmp_path / "sentinel").exists()


def rewrite_archive(path: Path, change: Callable[[str, bytes], bytes], **added: bytes) -> None:
    """Change the members of an exported program, and add compiled code to it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
        for name, content in added.items():
            archive.writestr(f"{root}/data/aotinductor/{name}", content)


def test_program_with_anything_but_operators_raises_checkpoint_error(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", to="torch", images=photos)
    path = tmp_path / "bundle" / "model.pt2"
    content, sentinel = path.read_bytes(), tmp_path / "sentinel"
    pickle_file = io.BytesIO()
    torch.save(MaliciousPickle(sentinel), pickle_file)

    rewrite_archive(path, lambda name, content: pickle_file.getvalue() if name.endswith(".pt") else content)
    with pytest.raises(CheckpointError, match=r"Cannot load .*model\.pt2: "):
        Predictor.load(tmp_path / "bundle")

    path.write_bytes(content)
    rewrite_archive(path, lambda name, content: content, model=b"a compiled library")
    with pytest.raises(CheckpointError, match=r"it contains compiled code"):
        Predictor.load(tmp_path / "bundle")

    path.write_bytes(content)
    rewrite_archive(
        path, lambda name, content: content.replace(b"torch.ops.aten.softmax.int", b"torch.cuda.synchronize")
    )
    with pytest.raises(CheckpointError, match=r"which is not an ATen operator|Cannot load .*model\.pt2: "):
        Predictor.load(tmp_path / "bundle")
    assert not sentinel.exists()


def test_cuda_device_for_onnx_bundle_raises_config_error(model: Path, photos: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "bundle", images=photos)

    with pytest.raises(ConfigError, match=r"device cuda: this bundle runs on the CPU; expected cpu, or a checkpoint"):
        Predictor.load(tmp_path / "bundle", device="cuda")
