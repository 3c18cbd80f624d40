"""Put images of many requests into one forward pass: sixteen at once cost less than sixteen times one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.engines import Answers, Row

Asked = tuple[Pixels, asyncio.Future[Row]]


class Batcher:
    """Collects images while a forward pass runs, and gives all of them to the next.

    A lone image never waits: only while others are on their way does it wait for them, and not for long.

    Args:
        look: Final pixels uint8 (B, H, W, C) -> answers; called in a thread, one call at a time.
        coming: How many images are being decoded.
        most: Images a pass.
        wait: Seconds that an image waits for those that are coming.
        seen: Told the size of each batch.
    """

    def __init__(
        self,
        look: Callable[[Pixels], Answers],
        coming: Callable[[], int],
        *,
        most: int,
        wait: float,
        seen: Callable[[int], None],
    ) -> None:
        self.look, self.coming, self.most, self.wait, self.seen = look, coming, most, wait, seen
        self.asked: asyncio.Queue[Asked] = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1, "forward")

    async def row(self, pixels: Pixels) -> Row:
        """Final pixels uint8 (H, W, C) of one image -> its row of the answers."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((pixels, answer))
        return await answer

    async def run(self) -> None:
        """Answer batch after batch until cancelled."""
        while True:
            # Whoever has given up by now, because of the time limit, needs no answer.
            batch = [(pixels, answer) for pixels, answer in await self.collect() if not answer.done()]
            if batch:
                await self.answer(batch)

    async def collect(self) -> list[Asked]:
        """The next images, at least one."""
        batch = [await self.asked.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self.wait):
                while len(batch) < self.most and (self.coming() or not self.asked.empty()):
                    batch.append(await self.asked.get())
        return batch

    async def answer(self, batch: list[Asked]) -> None:
        """Look at a batch in the thread, and hand the rows to those who asked."""
        self.seen(len(batch))
        images = np.stack([pixels for pixels, _ in batch])
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self.thread, self.look, images)
        except Exception as error:  # theirs to report; the next batch may fare better
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), row in zip(batch, answers.rows(), strict=True):
            if not answer.done():
                answer.set_result(row)
