"""Images that live on the GPU: batches are cut there, and nothing crosses the bus in a step."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cnn_classifier.data.loading.image_store import CachedImages, ImageStore
from cnn_classifier.data.loading.loader import Batch, BatchLoader

# Of the GPU's free memory; the rest is for the network and its activations.
MAX_MEMORY_FRACTION = 0.4
COPY_CHUNK_SIZE = 4096  # images that are copied at a time


def pixels_on_device(store: ImageStore, device: torch.device) -> Tensor | None:
    """All pixels of a store on the GPU, uint8 (N, H, W, C); None where there is none, or too little room on it."""
    if not isinstance(store, CachedImages) or device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if store.pixels.nbytes > MAX_MEMORY_FRACTION * free:
        return None
    pixels = torch.empty(store.pixels.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pixels), COPY_CHUNK_SIZE):
        pixels[start : start + COPY_CHUNK_SIZE] = torch.from_numpy(
            np.array(store.pixels[start : start + COPY_CHUNK_SIZE])
        )
    return pixels


class DeviceLoader:
    """The batches of a loader, in its order, cut from pixels on the device.

    Args:
        loader: Decides the order.
        pixels: Uint8 (N, H, W, C), the rows of the loader's store.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`, whose epoch it sets

    def __init__(self, loader: BatchLoader, pixels: Tensor) -> None:
        self.loader, self.pixels = loader, pixels
        self.sampler, self.batch_size = loader.sampler, loader.batch_size
        self.rows = torch.from_numpy(loader.rows).to(pixels.device)
        self.labels = torch.from_numpy(loader.labels).to(pixels.device)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.from_numpy(self.sampler.indices()).to(self.pixels.device)
        for indices in order.split(self.batch_size)[self.loader.batches_done() : len(self)]:
            yield self.pixels[self.rows[indices]].permute(0, 3, 1, 2), self.labels[indices]
