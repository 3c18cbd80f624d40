"""Features of a frozen network, computed once for each image and cached by content, network and preprocessing."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.augment import to_float
from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.parallel import batch_slices
from cnn_classifier.errors import StorageError
from cnn_classifier.files import atomic_write, cache_dir, ensure_writable_dir
from cnn_classifier.models.feature_bank import find_output_layer, forward_with_features
from cnn_classifier.progress import progress_bar
from cnn_classifier.training.devices import has_fast_bfloat16
from cnn_classifier.training.module import ImageClassifier

BATCH_SIZE = 32
MAX_CACHED_IMAGES = 200_000  # of one network and preprocessing; about 500 MB
CachedFeatures = dict[bytes, npt.NDArray[np.float16]]


def get_features(
    module: ImageClassifier, store: ImageStore, digests: Mapping[Path, str], paths: Sequence[Path]
) -> Tensor | None:
    """Return the input of the last layer of a network for each image, from the cache if it is there.

    Args:
        module: The module with its weights. It is set to evaluation mode.
        store: The preprocessed pixels.
        digests: The SHA-256 of each file, by which the features are cached.
        paths: The files.

    Returns:
        The features, float32 of shape (N, D); None if the network has no single vector of features per image.
    """
    keys = [digests[path].encode() for path in paths]
    cache_path = cache_dir() / "features" / f"{hash_network(module)}.npz"
    cached = load_cached(cache_path)
    missing = {key: path for key, path in zip(keys, paths, strict=True) if key not in cached}
    if missing:
        features = compute_features(module, store, list(missing.values()))
        if features is None:
            return None
        cached |= dict(zip(missing, features.half().numpy(), strict=True))
        with suppress(OSError, StorageError):  # without a cache, the next run computes the features again
            save_cached(cache_path, cached)
    return torch.from_numpy(np.stack([cached[key] for key in keys])).float()


@torch.inference_mode()
def compute_features(module: ImageClassifier, store: ImageStore, paths: Sequence[Path]) -> Tensor | None:
    """Compute the features of images, shape (N, D), in bfloat16 if it is fast; see `get_features`."""
    rows, parts = store.get_rows(paths), []
    device = module.eval().device
    with (
        progress_bar(description="computing features", total=len(paths)) as progress,
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_fast_bfloat16(device)),
    ):
        for pixels in store.iter_batches(rows[batch] for batch in batch_slices(len(rows), BATCH_SIZE)):
            features = forward_with_features(module, to_images(pixels, device))[1]
            if features is None:
                return None
            parts.append(features.float().cpu())
            progress.update(len(pixels))
    return torch.cat(parts)


def to_images(pixels: Pixels, device: torch.device) -> Tensor:
    """Return pixels, uint8 (B, H, W, C), as images (B, C, H, W) from 0 to 1 on a device."""
    return to_float(torch.from_numpy(np.require(pixels, requirements="W")).to(device).permute(0, 3, 1, 2))


def hash_network(module: ImageClassifier) -> str:
    """Return a hash of the network without its last layer, of the preprocessing and of the precision."""
    preprocess = module.preprocess.to_dict() if module.preprocess else None
    model = {key: module.hparams["model"].get(key) for key in ("_target_", "backbone")}
    digest = hashlib.sha256(json.dumps([model, preprocess, has_fast_bfloat16(module.device)]).encode())
    layer = find_output_layer(module.network)
    head_ids = {id(tensor) for tensor in layer.parameters()} if layer is not None else set()
    for name, tensor in [*module.network.named_parameters(), *module.network.named_buffers()]:
        if id(tensor) not in head_ids:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def load_cached(path: Path) -> CachedFeatures:
    """Return the cached features by digest, none if the file is missing or damaged."""
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), np.load(path) as arrays:
        return dict(zip(arrays["digests"].tolist(), arrays["features"], strict=True))
    return {}


def save_cached(path: Path, cached: CachedFeatures) -> None:
    """Save features, the last ones if there are more than `MAX_CACHED_IMAGES`."""
    ensure_writable_dir(path.parent)
    digests = list(cached)[-MAX_CACHED_IMAGES:]
    buffer = io.BytesIO()
    np.savez(buffer, digests=np.array(digests), features=np.stack([cached[digest] for digest in digests]))
    atomic_write(path, buffer.getvalue())
