"""Files of downloaded weights: their addresses, their places in the caches of several libraries, and checksums."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from cnn_classifier.data.sources.download import filename_from_url
from cnn_classifier.files import cache_dir
from cnn_classifier.models.backbones import is_torchvision, require_timm

HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def locate(backbone: str) -> tuple[str | None, str | None]:
    """Return the URL of the weights of a backbone and their repository in the Hugging Face Hub, as far as they exist.

    Raises:
        ConfigError: If the backbone is unknown, or timm is not installed.
    """
    if is_torchvision(backbone):
        import torchvision

        return torchvision.models.get_model_weights(backbone).DEFAULT.url, None
    config = require_timm(backbone).get_pretrained_cfg(backbone)
    return config.url or None, config.hf_hub_id or None


def list_cached_paths(backbone: str) -> Iterator[Path]:
    """Yield the files in which the weights of a backbone may be cached."""
    import torch

    url, repository = locate(backbone)
    if url:
        name = filename_from_url(url)
        yield cached_path(backbone, name)
        yield Path(f"{torch.hub.get_dir()}/checkpoints/{name}")
    if repository:
        from huggingface_hub import try_to_load_from_cache

        for name in HUB_FILES:
            yield cached_path(backbone, name)
            if isinstance(path := try_to_load_from_cache(repository, name), str):
                yield Path(path)


def cached_path(backbone: str, name: str) -> Path:
    """Return the file of this package's cache for a download."""
    return cache_dir() / "weights" / backbone / name


def is_intact(path: Path) -> bool:
    """Return whether a file has the checksum whose first digits are in its name, if there are any."""
    digits = checksum_digits(path.name)
    if not digits:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(digits)


def checksum_digits(name: str) -> str:
    """Return the first digits of the SHA-256 in a name such as `resnet18-f37072fd.pth`, or an empty string."""
    match = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    return match[1] if match else ""
