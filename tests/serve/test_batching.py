"""Dynamic batching: batch sizes, waiting times, cancellation and errors."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.inference.backends import ModelOutput, OutputRow
from cnn_classifier.serve.batching import Batcher

LONG_WAIT = 30.0  # seconds, beyond the timeout of a test


def make_image(number: int) -> Pixels:
    return np.full((2, 2, 3), number, np.uint8)


def mean_brightness(images: Pixels) -> ModelOutput:
    """Return the number of each image as its output, which identifies the image."""
    return ModelOutput(images.mean(axis=(1, 2, 3))[:, None], np.ones(len(images)))


def to_number(row: OutputRow) -> float:
    probabilities, _ = row
    return float(probabilities[0])


def run_batcher(
    scenario: Callable[[Batcher], Coroutine[Any, Any, None]],
    predict: Callable[[Pixels], ModelOutput] = mean_brightness,
    *,
    num_decoding: int = 0,
    batch_wait: float = LONG_WAIT,
) -> list[int]:
    """Run a scenario and return the sizes of its batches."""
    sizes: list[int] = []

    async def run() -> None:
        batcher = Batcher(predict, lambda: num_decoding, max_batch_size=4, batch_wait=batch_wait, on_batch=sizes.append)
        batch_task = asyncio.create_task(batcher.run())
        async with asyncio.timeout(LONG_WAIT / 2):
            await scenario(batcher)
        batch_task.cancel()

    asyncio.run(run())
    return sizes


def test_queued_images_are_batched_and_outputs_match_inputs() -> None:
    async def predict_ten(batcher: Batcher) -> None:
        rows = await asyncio.gather(*(batcher.predict_one(make_image(number)) for number in range(10)))
        assert [to_number(row) for row in rows] == list(range(10))

    assert run_batcher(predict_ten) == [4, 4, 2]


def test_single_image_does_not_wait() -> None:
    async def predict_one(batcher: Batcher) -> None:
        await batcher.predict_one(make_image(1))

    assert run_batcher(predict_one, batch_wait=LONG_WAIT) == [1]


def test_image_waits_at_most_batch_wait_for_images_being_decoded() -> None:
    async def predict_two(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.predict_one(make_image(1)))
        await asyncio.sleep(0.01)
        assert not first.done()
        await batcher.predict_one(make_image(2))
        await first

    async def predict_one(batcher: Batcher) -> None:
        await batcher.predict_one(make_image(1))

    assert run_batcher(predict_two, num_decoding=1, batch_wait=0.5) == [2]
    assert run_batcher(predict_one, num_decoding=1, batch_wait=0.01) == [1]


def test_cancelled_image_is_not_predicted() -> None:
    async def cancel_first_of_two(batcher: Batcher) -> None:
        cancelled = asyncio.create_task(batcher.predict_one(make_image(1)))
        remaining = asyncio.create_task(batcher.predict_one(make_image(2)))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert to_number(await remaining) == 2

    assert run_batcher(cancel_first_of_two) == [1]


def test_failed_batch_raises_for_its_images_and_next_batch_succeeds() -> None:
    def fail_on_zeros(images: Pixels) -> ModelOutput:
        if not images.any():
            raise RuntimeError("out of memory")
        return mean_brightness(images)

    async def predict_bad_then_good(batcher: Batcher) -> None:
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.predict_one(make_image(0))
        assert to_number(await batcher.predict_one(make_image(3))) == 3

    assert run_batcher(predict_bad_then_good, fail_on_zeros) == [1, 1]
