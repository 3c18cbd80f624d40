"""Images that come together are looked at together; a lone one does not wait."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.inference.backends import ModelOutput, OutputRow
from cnn_classifier.serve.batching import Batcher

LONG = 30.0  # seconds: whoever waited for so long would not be overlooked


def image(number: int) -> Pixels:
    return np.full((2, 2, 3), number, np.uint8)


def brightness(images: Pixels) -> ModelOutput:
    """Each image's own number, so that an answer tells whose it is."""
    return ModelOutput(images.mean(axis=(1, 2, 3))[:, None], np.ones(len(images)))


def number_of(row: OutputRow) -> float:
    probabilities, _ = row
    return float(probabilities[0])


def batches_of(
    story: Callable[[Batcher], Coroutine[Any, Any, None]],
    look: Callable[[Pixels], ModelOutput] = brightness,
    *,
    coming: int = 0,
    wait: float = LONG,
) -> list[int]:
    """The sizes of the batches that a story makes."""
    sizes: list[int] = []

    async def run() -> None:
        batcher = Batcher(look, lambda: coming, max_batch_size=4, batch_wait=wait, on_batch=sizes.append)
        running = asyncio.create_task(batcher.run())
        async with asyncio.timeout(LONG / 2):
            await story(batcher)
        running.cancel()

    asyncio.run(run())
    return sizes


def test_images_that_wait_go_together_and_each_gets_its_own_answer() -> None:
    async def ten(batcher: Batcher) -> None:
        answers = await asyncio.gather(*(batcher.predict_one(image(number)) for number in range(10)))
        assert [number_of(answer) for answer in answers] == list(range(10))

    assert batches_of(ten) == [4, 4, 2]


def test_a_lone_image_does_not_wait() -> None:
    async def one(batcher: Batcher) -> None:
        await batcher.predict_one(image(1))

    assert batches_of(one, wait=LONG) == [1]


def test_an_image_waits_for_one_that_is_being_decoded_but_not_for_long() -> None:
    async def two(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.predict_one(image(1)))
        await asyncio.sleep(0.01)
        assert not first.done()
        await batcher.predict_one(image(2))
        await first

    async def one(batcher: Batcher) -> None:
        await batcher.predict_one(image(1))

    assert batches_of(two, coming=1, wait=0.5) == [2]
    assert batches_of(one, coming=1, wait=0.01) == [1]


def test_those_who_gave_up_are_not_looked_at() -> None:
    async def one_of_two(batcher: Batcher) -> None:
        impatient = asyncio.create_task(batcher.predict_one(image(1)))
        patient = asyncio.create_task(batcher.predict_one(image(2)))
        await asyncio.sleep(0)
        impatient.cancel()
        assert number_of(await patient) == 2

    assert batches_of(one_of_two) == [1]


def test_a_batch_that_fails_tells_those_who_asked_and_the_next_is_answered() -> None:
    def fails_on_zero(images: Pixels) -> ModelOutput:
        if not images.any():
            raise RuntimeError("out of memory")
        return brightness(images)

    async def bad_then_good(batcher: Batcher) -> None:
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.predict_one(image(0))
        assert number_of(await batcher.predict_one(image(3))) == 3

    assert batches_of(bad_then_good, fails_on_zero) == [1, 1]
