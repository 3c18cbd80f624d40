"""Checkpoints are whole or not there, and no byte of them changes unseen."""

import os
from pathlib import Path

import pytest
import torch

from cnn_classifier.errors import CheckpointError, StorageError
from cnn_classifier.files import atomic_write
from cnn_classifier.training.checkpoints import read_checkpoint, save_with_checksum, verify_checksum


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    save_with_checksum(tmp_path / "last.ckpt", {"weights": torch.arange(100.0), "step": 7})
    return tmp_path / "last.ckpt"


def test_torch_reads_what_was_sealed(sealed: Path) -> None:
    assert verify_checksum(sealed)
    assert torch.load(sealed, weights_only=True)["step"] == 7
    assert [path.name for path in sealed.parent.iterdir()] == ["last.ckpt"]


def test_every_byte_that_changes_is_seen(sealed: Path) -> None:
    whole = sealed.read_bytes()
    for place in range(0, len(whole), 7):
        sealed.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert is_refused(sealed), place


def test_every_end_that_is_missing_is_seen(sealed: Path) -> None:
    whole = sealed.read_bytes()
    for length in range(0, len(whole), 13):
        sealed.write_bytes(whole[:length])
        assert is_refused(sealed), length


def is_refused(path: Path) -> bool:
    """A file that is not sealed is refused by whoever reads its format from it."""
    try:
        return not verify_checksum(path)
    except CheckpointError:
        return True


def test_what_was_there_stays_until_all_of_the_new_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), sync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda path, target: (calls.append("replace"), replace(path, target)))
    atomic_write(tmp_path / "file", b"old")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"^Cannot write .*file \(3 bytes\): No space left on device\. A previous"):
        atomic_write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_format_before_this_one_is_read_and_the_next_one_is_not(tmp_path: Path) -> None:
    content = {"state_dict": {}, "hyper_parameters": {}, "cnn_classifier": {"format": 1, "version": "0.1.0"}}
    torch.save(content, tmp_path / "first.ckpt")  # which was not sealed
    assert read_checkpoint(tmp_path / "first.ckpt")["cnn_classifier"]["format"] == 1

    torch.save(content | {"cnn_classifier": {"format": 2, "checksum": True}}, tmp_path / "stripped.ckpt")
    with pytest.raises(CheckpointError, match=r"stripped\.ckpt is damaged: its end is missing"):
        read_checkpoint(tmp_path / "stripped.ckpt")

    save_with_checksum(tmp_path / "next.ckpt", content | {"cnn_classifier": {"format": 3, "version": "9.0"}})
    with pytest.raises(CheckpointError, match=r"next\.ckpt was written by cnn_classifier 9\.0; upgrade to read it"):
        read_checkpoint(tmp_path / "next.ckpt")
