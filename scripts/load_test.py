"""Measure a running service: `python scripts/load_test.py http://127.0.0.1:8000 IMAGES…`; prints a Markdown table.

Closed loop: so many clients, each of which asks again once it is answered. Open loop: pictures come at a rate of their
own, as shares of the capacity that the closed loop found, whether they are answered or not. Give the service and this
script a core each, where there are two.
"""

import argparse
import asyncio
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2

CLIENTS = (1, 2, 4, 8, 16, 32)
LOADS = (0.5, 0.8, 1.2, 3.0)
Reply = tuple[int, float]  # status code, 0 for none; seconds


class Load:
    """Asks for pictures, again and again.

    Args:
        client: Connected to the service.
        pictures: Files, taken in turn.
    """

    def __init__(self, client: httpx2.AsyncClient, pictures: Sequence[bytes]) -> None:
        self.client, self.pictures, self.asked = client, pictures, 0

    async def ask(self) -> Reply:
        self.asked += 1
        content, started = self.pictures[self.asked % len(self.pictures)], time.perf_counter()
        try:
            reply = await self.client.post("/predict", content=content, headers={"Content-Type": "image/*"})
            return reply.status_code, time.perf_counter() - started
        except httpx2.TransportError:
            return 0, time.perf_counter() - started

    async def closed(self, clients: int, seconds: float) -> list[Reply]:
        """So many at once for so long."""
        until = time.perf_counter() + seconds

        async def again() -> list[Reply]:
            replies = []
            while time.perf_counter() < until:
                replies.append(await self.ask())
            return replies

        return [reply for replies in await asyncio.gather(*(again() for _ in range(clients))) for reply in replies]

    async def opened(self, rate: float, seconds: float) -> list[Reply]:
        """So many a second for so long, at random moments; answers may take what they take."""
        chance, tasks, due = random.Random(0), [], time.perf_counter()
        until = due + seconds
        while due < until:
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self.ask()))
        return list(await asyncio.gather(*tasks))

    async def memory(self) -> float:
        """Megabytes that the service holds."""
        found = re.search(r"^process_resident_memory_bytes (\S+)", (await self.client.get("/metrics")).text, re.M)
        return float(found[1]) / 1e6 if found else 0.0


def row(name: str, replies: Sequence[Reply], seconds: float, before: float, after: float) -> str:
    """One line of the table: goodput, percentiles of what was answered, what was not, memory a thousand requests."""
    good = sorted(took for code, took in replies if code == 200)
    busy, lost = (sum(code in codes for code, _ in replies) for codes in ((429, 503), (0, 500, 502, 504)))
    percentiles = [f"{1000 * good[min(len(good) - 1, int(share * len(good)))]:.1f}" for share in (0.5, 0.95, 0.99)]
    slope = 1000 * (after - before) / max(1, len(replies))
    cells = [
        name,
        f"{len(good) / seconds:.1f}",
        *percentiles,
        f"{busy / len(replies):.1%}",
        f"{lost / len(replies):.1%}",
    ]
    return f"| {' | '.join([*cells, f'{slope:+.1f}'])} |"


async def measure(words: argparse.Namespace) -> None:
    pictures = [Path(name).read_bytes() for name in words.pictures]
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2)
    async with httpx2.AsyncClient(base_url=words.address, limits=limits, timeout=40) as client:
        load = Load(client, pictures)
        await load.closed(4, 2)
        print("| load | answers/s | p50 ms | p95 ms | p99 ms | turned away | lost | MB / 1,000 requests |")
        print("| --- | --: | --: | --: | --: | --: | --: | --: |")
        capacity = 0.0
        for clients in CLIENTS:
            before, started = await load.memory(), time.perf_counter()
            replies = await load.closed(clients, words.seconds)
            took = time.perf_counter() - started
            capacity = max(capacity, sum(code == 200 for code, _ in replies) / took)
            print(row(f"{clients} clients", replies, took, before, await load.memory()), flush=True)
        for share in LOADS:
            before, started = await load.memory(), time.perf_counter()
            replies = await load.opened(share * capacity, words.seconds)
            took = time.perf_counter() - started
            print(row(f"{share:.0%} of {capacity:.0f}/s", replies, took, before, await load.memory()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--seconds", type=float, default=10, help="for each line (default 10)")
    asyncio.run(measure(parser.parse_args()))
