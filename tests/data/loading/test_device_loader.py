"""Tests of the loader that slices batches on the device."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cnn_classifier.data.loading import device_loader
from cnn_classifier.data.loading.device_loader import DeviceLoader, pixels_on_device
from cnn_classifier.data.loading.image_store import CachedImages
from cnn_classifier.data.loading.loader import BatchLoader


def make_store() -> CachedImages:
    pixels = np.random.default_rng(1).integers(0, 256, (10, 4, 4, 3), np.uint8)
    return CachedImages(pixels, {}, {})


@pytest.mark.parametrize("sampler", [None, "shuffle", "balanced"])
def test_device_loader_yields_the_batches_of_the_batch_loader(sampler: str | None) -> None:
    store = make_store()
    rows, all_labels = np.arange(9)[::-1].copy(), np.array([0, 1, 1, 0, 1, 1, 1, 0, 1])
    batch_loader = BatchLoader(store, rows, all_labels, batch_size=4, seed=3, sampler=sampler)
    loader = DeviceLoader(
        BatchLoader(store, rows, all_labels, batch_size=4, seed=3, sampler=sampler), torch.from_numpy(store.pixels)
    )
    for epoch in range(3):
        batch_loader.sampler.set_epoch(epoch)
        loader.sampler.set_epoch(epoch)
        pairs = list(zip(batch_loader, loader, strict=True))
        assert len(pairs) == len(loader) == len(batch_loader)
        for (expected_images, expected_labels), (images, labels) in pairs:
            assert torch.equal(images, expected_images)
            assert images.stride() == expected_images.stride()
            assert torch.equal(labels, expected_labels)


def test_pixels_on_device_is_none_on_cpu_and_for_uncached_images(tmp_path: Path) -> None:
    assert pixels_on_device(make_store(), torch.device("cpu")) is None
    assert pixels_on_device(object(), torch.device("cuda")) is None


def test_pixels_on_device_is_none_if_gpu_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (store.pixels.nbytes, 10**12))
    assert pixels_on_device(store, torch.device("cuda")) is None
    assert device_loader.MAX_MEMORY_FRACTION < 1
