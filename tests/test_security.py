"""No checkpoint, bundle or configuration runs code of its own, whatever is done with it."""

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


def content(**changed: Any) -> dict[str, Any]:
    """Of a checkpoint of ours, some of it replaced."""
    module = make_classifier()
    return {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "cnn_classifier": {"format": 2, "version": "0.1.0"},
        **changed,
    }


def settings(**changed: Any) -> dict[str, Any]:
    return dict(make_classifier().hparams) | changed


def nested(path: Path) -> None:
    """A pickle that hides another zip archive with a pickle."""
    inner = io.BytesIO()
    torch.save(Payload(), inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload()))
        archive.writestr("archive/inner.pt", inner.getvalue())
        archive.writestr("archive/version", "3")


def legacy_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(pickle.dumps(Payload()))
            archive.addfile(member, io.BytesIO(pickle.dumps(Payload())))


def mkdir(name: str) -> dict[str, Any]:
    return {"_target_": name, "path": "sentinel", "name": "sentinel", "command": "mkdir sentinel"}


EVIL: dict[str, Callable[[Path], Any]] = {
    "code among the weights": lambda path: save_with_checksum(path, content(state_dict={"weight": Payload()})),
    "code among the settings": lambda path: save_with_checksum(path, content(hyper_parameters={"model": Payload()})),
    "code as a callback": lambda path: save_with_checksum(path, content(callbacks={"mine": Payload()})),
    "a bare pickle": lambda path: path.write_bytes(pickle.dumps(Payload())),
    "torch's old format": lambda path: torch.save(Payload(), path, _use_new_zipfile_serialization=False),
    "torch's oldest format": legacy_tar,
    "a pickle in a zip in a zip": nested,
    "an instantiator": lambda path: save_with_checksum(
        path, content(hyper_parameters=settings(_instantiator="os.mkdir"))
    ),
    "a class path": lambda path: save_with_checksum(path, content(hyper_parameters=settings(_class_path="os.mkdir"))),
    "a target": lambda path: save_with_checksum(path, content(hyper_parameters=settings(model=mkdir("os.system")))),
    "an alias": lambda path: save_with_checksum(
        path, content(hyper_parameters=settings(model=mkdir("shutil.os.mkdir")))
    ),
    "a target in a target": lambda path: save_with_checksum(
        path, content(hyper_parameters=settings(model=settings()["model"] | {"dropout": mkdir("os.mkdir")}))
    ),
}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("photo.png")
    return tmp_path


@pytest.mark.parametrize("make", EVIL.values(), ids=list(EVIL))
def test_a_malicious_checkpoint_is_refused_by_every_command(
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
    for words in commands:
        assert main(words) == 4, words
        told = capsys.readouterr().err
        assert len(told.strip().splitlines()) == 1, told
        assert "evil" in told
    assert not Path("sentinel").exists()
    assert not Path("bundle").exists()


@pytest.mark.parametrize(
    "command", ["predict {} x.png", "evaluate {} x", "export {} --to onnx --out o", "train resume={}"]
)
def test_nothing_is_fetched_on_behalf_of_a_checkpoint(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("x.png")

    words = command.format("https://example.org/best.ckpt").split()
    code = main([*words, "dataset=digits"] if words[0] == "train" else words)

    assert code == 4
    assert "best.ckpt is an address; expected " in capsys.readouterr().err


def test_a_header_that_lies_about_its_length_is_refused(bundle_of_tensors: Path) -> None:
    path = bundle_of_tensors / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + path.read_bytes()[8:])
    assert main(["predict", str(bundle_of_tensors), "photo.png"]) == 4


@pytest.fixture
def bundle_of_tensors(trained: Path, tmp_path: Path, make_folder: MakeFolder) -> Path:
    folder = make_folder({"birds": 2, "cats": 2, "dogs": 2}, size=8)
    words = ["--to", "safetensors", "--images", str(folder), "--out", str(tmp_path / "tensors")]
    assert main(["export", str(trained), *words]) == 0
    return tmp_path / "tensors"


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin"])
def test_a_graph_reads_no_file_beside_itself(bundle: Path, tmp_path: Path, location: str) -> None:
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


NAMES = [
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
def test_only_the_parts_of_a_training_are_called(kind: type) -> None:
    assert len(NAMES) >= 40
    for name in NAMES:
        with pytest.raises(ConfigError, match=rf"_target_: {name} (is not allowed here|cannot be imported)"):
            instantiate({"_target_": name, "path": "sentinel"}, kind)
    assert not Path("sentinel").exists()


@pytest.mark.parametrize(
    "group", ["model", "optimizer", "scheduler", "callbacks.best", "+augment.mine", "+logger.mine"]
)
def test_a_word_of_the_command_calls_nothing_else(
    group: str, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder({"cats": 8, "dogs": 8})
    words = ["dataset=folder", "dataset.root=images", "trainer=cpu", "trainer.max_epochs=1", "run_dir=run"]
    assert main(["train", *words, f"{group}._target_=os.mkdir", f"+{group.removeprefix('+')}.path=sentinel"]) == 2
    assert "os.mkdir" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["images", "photo.png"]


def test_a_saved_configuration_refers_to_nothing(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnn_classifier.config.compose import load_saved_config

    monkeypatch.setenv("MY_SECRET", "secret")
    Path("config.yaml").write_text("seed: 1\nkey: ${oc.env:MY_SECRET}\n")
    assert "secret" not in json.dumps(load_saved_config(Path("config.yaml")))
