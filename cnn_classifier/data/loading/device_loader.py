"""Batch loading from pixels in GPU memory, without a host-to-device copy per step."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cnn_classifier.data.loading.image_store import CachedImages, ImageStore
from cnn_classifier.data.loading.loader import Batch, BatchLoader
from cnn_classifier.data.parallel import batch_slices

# The fraction of free GPU memory available to the pixels; the rest is for the model and its activations.
MAX_MEMORY_FRACTION = 0.4
COPY_BATCH_SIZE = 4096  # images per host-to-device copy


def pixels_on_device(store: ImageStore, device: torch.device) -> Tensor | None:
    """Copy all pixels of a store to the GPU.

    Args:
        store: The image store.
        device: The training device.

    Returns:
        The uint8 pixels of shape (N, H, W, C), or None if the device is not a GPU, the store is not cached, or the
        pixels exceed `MAX_MEMORY_FRACTION` of the free memory.
    """
    if not isinstance(store, CachedImages) or device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if store.pixels.nbytes > MAX_MEMORY_FRACTION * free:
        return None
    pixels = torch.empty(store.pixels.shape, dtype=torch.uint8, device=device)
    for batch in batch_slices(len(pixels), COPY_BATCH_SIZE):
        pixels[batch] = torch.from_numpy(np.array(store.pixels[batch]))
    return pixels


class DeviceLoader:
    """A loader that yields the batches of a `BatchLoader`, sliced from pixels on the device.

    Args:
        loader: The loader that determines the order and the batch size.
        pixels: The uint8 pixels of the loader's store on the device, shape (N, H, W, C).
    """

    batch_sampler = None  # Lightning reads this attribute before it calls `sampler.set_epoch`

    def __init__(self, loader: BatchLoader, pixels: Tensor) -> None:
        self.loader, self.pixels = loader, pixels
        self.sampler = loader.sampler  # Lightning calls its `set_epoch`
        self.rows = torch.from_numpy(loader.rows).to(pixels.device)
        self.labels = torch.from_numpy(loader.labels).to(pixels.device)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        batches = self.loader.batch_indices()[self.loader.batches_done() :]
        if not batches:
            return
        order = torch.from_numpy(np.concatenate(batches)).to(self.pixels.device)  # one copy per epoch
        for indices in order.split([len(batch) for batch in batches]):
            yield self.pixels[self.rows[indices]].permute(0, 3, 1, 2), self.labels[indices]
