"""Batches cut on the device are those that would have been sent there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cnn_classifier.data.loading import device_loader as resident
from cnn_classifier.data.loading.device_loader import DeviceLoader, pixels_on_device
from cnn_classifier.data.loading.image_store import CachedImages
from cnn_classifier.data.loading.loader import BatchLoader


def packed() -> CachedImages:
    pixels = np.random.default_rng(1).integers(0, 256, (10, 4, 4, 3), np.uint8)
    return CachedImages(pixels, {}, {})


@pytest.mark.parametrize("sampler", [None, "shuffle", "balanced"])
def test_the_batches_are_the_same_in_every_epoch(sampler: str | None) -> None:
    store = packed()
    rows, labels = np.arange(9)[::-1].copy(), np.array([0, 1, 1, 0, 1, 1, 1, 0, 1])
    sent = BatchLoader(store, rows, labels, batch_size=4, seed=3, sampler=sampler)
    cut = DeviceLoader(
        BatchLoader(store, rows, labels, batch_size=4, seed=3, sampler=sampler), torch.from_numpy(store.pixels)
    )
    for epoch in range(3):
        sent.sampler.set_epoch(epoch)
        cut.sampler.set_epoch(epoch)
        pairs = list(zip(sent, cut, strict=True))
        assert len(pairs) == len(cut) == len(sent)
        for (images, classes), (same_images, same_classes) in pairs:
            assert torch.equal(images, same_images)
            assert images.stride() == same_images.stride()
            assert torch.equal(classes, same_classes)


def test_a_cpu_needs_no_copy_and_streamed_images_cannot_stay(tmp_path: Path) -> None:
    assert pixels_on_device(packed(), torch.device("cpu")) is None
    assert pixels_on_device(object(), torch.device("cuda")) is None


def test_images_stay_off_a_gpu_that_they_would_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    store = packed()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (store.pixels.nbytes, 10**12))
    assert pixels_on_device(store, torch.device("cuda")) is None
    assert resident.MAX_MEMORY_FRACTION < 1
