"""Tests that checkpoints, bundles and configurations cannot run code."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.classifiers import make_classifier
from helpers.folders import MakeFolder
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from PIL import Image
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cnn_classifier.cli.main import main
from cnn_classifier.config.instantiate import instantiate
from cnn_classifier.errors import ConfigError
from cnn_classifier.training.checkpoints import save_with_checksum


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sentinel",)


def checkpoint_content(**changed: Any) -> dict[str, Any]:
    """Return the content of a valid checkpoint, with some entries replaced."""
    module = make_classifier()
    return {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "cnn_classifier": {"format": 2, "version": "0.1.0"},
        **changed,
    }


def hyper_parameters(**changed: Any) -> dict[str, Any]:
    return dict(make_classifier().hparams) | changed


def write_nested_zip(path: Path) -> None:
    """Write a checkpoint that contains another zip archive with a pickle."""
    inner = io.BytesIO()
    torch.save(Payload(), inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload()))
        archive.writestr("archive/inner.pt", inner.getvalue())
        archive.writestr("archive/version", "3")


def write_legacy_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(pickle.dumps(Payload()))
            archive.addfile(member, io.BytesIO(pickle.dumps(Payload())))


def mkdir_target(name: str) -> dict[str, Any]:
    return {"_target_": name, "path": "sentinel", "name": "sentinel", "command": "mkdir sentinel"}


MALICIOUS: dict[str, Callable[[Path], Any]] = {
    "code among the weights": lambda path: save_with_checksum(
        path, checkpoint_content(state_dict={"weight": Payload()})
    ),
    "code among the hyperparameters": lambda path: save_with_checksum(
        path, checkpoint_content(hyper_parameters={"model": Payload()})
    ),
    "code as a callback": lambda path: save_with_checksum(path, checkpoint_content(callbacks={"mine": Payload()})),
    "a bare pickle": lambda path: path.write_bytes(pickle.dumps(Payload())),
    "torch's old format": lambda path: torch.save(Payload(), path, _use_new_zipfile_serialization=False),
    "torch's oldest format": write_legacy_tar,
    "a pickle in a zip in a zip": write_nested_zip,
    "an instantiator": lambda path: save_with_checksum(
        path, checkpoint_content(hyper_parameters=hyper_parameters(_instantiator="os.mkdir"))
    ),
    "a class path": lambda path: save_with_checksum(
        path, checkpoint_content(hyper_parameters=hyper_parameters(_class_path="os.mkdir"))
    ),
    "a target": lambda path: save_with_checksum(
        path, checkpoint_content(hyper_parameters=hyper_parameters(model=mkdir_target("os.system")))
    ),
    "an alias": lambda path: save_with_checksum(
        path, checkpoint_content(hyper_parameters=hyper_parameters(model=mkdir_target("shutil.os.mkdir")))
    ),
    "a target in a target": lambda path: save_with_checksum(
        path,
        checkpoint_content(
            hyper_parameters=hyper_parameters(model=hyper_parameters()["model"] | {"dropout": mkdir_target("os.mkdir")})
        ),
    ),
}


@pytest.fixture(autouse=True)
def working_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("photo.png")
    return tmp_path


@pytest.mark.parametrize("make", MALICIOUS.values(), ids=list(MALICIOUS))
def test_malicious_checkpoint_is_refused_by_every_command(
    make: Callable[[Path], Any], make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder({"birds": 8, "cats": 8, "dogs": 8})
    make(Path("evil.ckpt"))
    size = ["dataset=folder", "dataset.root=images", "dataset.image_size=8", "dataset.channels=1"]
    commands = (
        ["predict", "evil.ckpt", "photo.png"],
        ["evaluate", "evil.ckpt", "images"],
        ["export", "evil.ckpt", "--images", "images", "--out", "bundle"],
        ["serve", "evil.ckpt"],
        ["train", *size, "model=baseline", "model.widths=[2]", "trainer=cpu", "resume=evil.ckpt", "run_dir=run"],
    )
    for arguments in commands:
        assert main(arguments) == 4, arguments
        message = capsys.readouterr().err
        assert len(message.strip().splitlines()) == 1, message
        assert "evil" in message
    assert not Path("sentinel").exists()
    assert not Path("bundle").exists()


@pytest.mark.parametrize(
    "command", ["predict {} x.png", "evaluate {} x", "export {} --to onnx --out o", "train resume={}"]
)
def test_checkpoint_url_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("x.png")

    arguments = command.format("https://example.org/best.ckpt").split()
    code = main([*arguments, "dataset=digits"] if arguments[0] == "train" else arguments)

    assert code == 4
    assert "best.ckpt is an address; expected " in capsys.readouterr().err


def test_safetensors_with_wrong_header_length_is_refused(safetensors_bundle: Path) -> None:
    path = safetensors_bundle / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + path.read_bytes()[8:])
    assert main(["predict", str(safetensors_bundle), "photo.png"]) == 4


@pytest.fixture
def safetensors_bundle(trained: Path, tmp_path: Path, make_folder: MakeFolder) -> Path:
    folder = make_folder({"birds": 2, "cats": 2, "dogs": 2}, size=8)
    arguments = ["--to", "safetensors", "--images", str(folder), "--out", str(tmp_path / "tensors")]
    assert main(["export", str(trained), *arguments]) == 0
    return tmp_path / "tensors"


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_onnx_external_data_is_refused(bundle: Path, tmp_path: Path, location: str) -> None:
    import shutil

    import onnx

    evil = Path(shutil.copytree(bundle, tmp_path / "evil"))
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4096)
    (evil / "link.bin").symlink_to(tmp_path / "secret.bin")
    graph = onnx.load(evil / "model.onnx")
    tensor = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(size)}.items():
        tensor.external_data.add(key=key, value=value)
    (evil / "model.onnx").write_bytes(graph.SerializeToString())

    assert main(["predict", str(evil), "photo.png"]) == 4


FORBIDDEN_TARGETS = [
    "os.system", "os.mkdir", "os.popen", "os.execv", "os.remove", "shutil.rmtree", "shutil.os.mkdir",
    "pathlib.os.mkdir", "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output",
    "subprocess.os.system",
    "builtins.eval", "builtins.exec", "builtins.open", "builtins.__import__", "builtins.compile", "builtins.getattr",
    "logging.os.mkdir", "logging.shutil.rmtree", "importlib.import_module", "importlib.os.mkdir", "runpy.run_path",
    "pickle.loads", "pickle.load", "marshal.loads", "shelve.open", "ctypes.CDLL", "socket.create_connection",
    "urllib.request.urlopen", "webbrowser.open", "code.interact", "pty.spawn", "timeit.timeit", "pdb.run",
    "torch.load", "torch.hub.load", "hydra.utils.instantiate", "multiprocessing.Process", "functools.partial",
    "tempfile.mkdtemp", "zipfile.ZipFile", "cnn_classifier.train.train",
]  # fmt: skip


@pytest.mark.parametrize("kind", [nn.Module, Optimizer, LRScheduler, Callback, Logger])
def test_instantiate_refuses_targets_of_other_types(kind: type) -> None:
    assert len(FORBIDDEN_TARGETS) >= 40
    for name in FORBIDDEN_TARGETS:
        with pytest.raises(ConfigError, match=rf"_target_: {name} (is not allowed here|cannot be imported)"):
            instantiate({"_target_": name, "path": "sentinel"}, kind)
    assert not Path("sentinel").exists()


@pytest.mark.parametrize(
    "group", ["model", "optimizer", "scheduler", "callbacks.best", "+augment.mine", "+logger.mine"]
)
def test_target_override_of_another_type_is_refused(
    group: str, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder({"cats": 8, "dogs": 8})
    arguments = ["dataset=folder", "dataset.root=images", "trainer=cpu", "trainer.max_epochs=1", "run_dir=run"]
    assert main(["train", *arguments, f"{group}._target_=os.mkdir", f"+{group.removeprefix('+')}.path=sentinel"]) == 2
    assert "os.mkdir" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["images", "photo.png"]


def test_saved_config_does_not_resolve_environment_variables(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnn_classifier.config.saved import load_saved_config

    monkeypatch.setenv("MY_SECRET", "secret")
    Path("config.yaml").write_text("seed: 1\nkey: ${oc.env:MY_SECRET}\n")
    assert "secret" not in json.dumps(load_saved_config(Path("config.yaml")))
