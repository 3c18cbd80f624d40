"""Load-test a running service: `python scripts/load_test.py http://127.0.0.1:8000 IMAGES…`; prints a Markdown table.

Closed loop: each of a number of clients sends its next request when it receives a response. Open loop: requests arrive
at random times, at a fraction of the capacity that the closed loop measured, independently of the responses. If
possible, run the service and this script on separate cores.
"""

import argparse
import asyncio
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2

CLIENT_COUNTS = (1, 2, 4, 8, 16, 32)
LOAD_FRACTIONS = (0.5, 0.8, 1.2, 3.0)
Reply = tuple[int, float]  # status code (0 without a response), seconds


class LoadGenerator:
    """A generator of prediction requests.

    Args:
        client: A client of the service.
        images: The contents of image files, which are sent in turn.
    """

    def __init__(self, client: httpx2.AsyncClient, images: Sequence[bytes]) -> None:
        self.client, self.images, self.num_requests = client, images, 0

    async def send_request(self) -> Reply:
        """Send one image and return the status code and the duration in seconds."""
        self.num_requests += 1
        content, start_time = self.images[self.num_requests % len(self.images)], time.perf_counter()
        try:
            response = await self.client.post("/predict", content=content, headers={"Content-Type": "image/*"})
            return response.status_code, time.perf_counter() - start_time
        except httpx2.TransportError:
            return 0, time.perf_counter() - start_time

    async def run_closed_loop(self, num_clients: int, seconds: float) -> list[Reply]:
        """Send requests from a number of concurrent clients until `seconds` have passed."""
        deadline = time.perf_counter() + seconds

        async def send_repeatedly() -> list[Reply]:
            replies = []
            while time.perf_counter() < deadline:
                replies.append(await self.send_request())
            return replies

        return [
            reply
            for replies in await asyncio.gather(*(send_repeatedly() for _ in range(num_clients)))
            for reply in replies
        ]

    async def run_open_loop(self, rate: float, seconds: float) -> list[Reply]:
        """Send `rate` requests per second at random times (a Poisson process) for `seconds`."""
        rng, tasks, next_time = random.Random(0), [], time.perf_counter()
        deadline = next_time + seconds
        while next_time < deadline:
            next_time += rng.expovariate(rate)
            await asyncio.sleep(max(0.0, next_time - time.perf_counter()))
            tasks.append(asyncio.create_task(self.send_request()))
        return list(await asyncio.gather(*tasks))

    async def get_memory_mb(self) -> float:
        """Return the resident memory of the service in megabytes."""
        match = re.search(r"^process_resident_memory_bytes (\S+)", (await self.client.get("/metrics")).text, re.M)
        return float(match[1]) / 1e6 if match else 0.0


def format_row(name: str, replies: Sequence[Reply], seconds: float, memory_before: float, memory_after: float) -> str:
    """Return one table row: goodput, latency percentiles, rejected and failed requests, and memory growth."""
    latencies = sorted(latency for code, latency in replies if code == 200)
    num_rejected, num_failed = (sum(code in codes for code, _ in replies) for codes in ((429, 503), (0, 500, 502, 504)))
    percentiles = [
        f"{1000 * latencies[min(len(latencies) - 1, int(quantile * len(latencies)))]:.1f}"
        for quantile in (0.5, 0.95, 0.99)
    ]
    slope = 1000 * (memory_after - memory_before) / max(1, len(replies))
    cells = [
        name,
        f"{len(latencies) / seconds:.1f}",
        *percentiles,
        f"{num_rejected / len(replies):.1%}",
        f"{num_failed / len(replies):.1%}",
    ]
    return f"| {' | '.join([*cells, f'{slope:+.1f}'])} |"


async def measure(arguments: argparse.Namespace) -> None:
    """Run all loads and print the table."""
    images = [Path(name).read_bytes() for name in arguments.images]
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2)
    async with httpx2.AsyncClient(base_url=arguments.url, limits=limits, timeout=40) as client:
        load = LoadGenerator(client, images)
        await load.run_closed_loop(4, 2)
        print("| load | responses/s | p50 ms | p95 ms | p99 ms | rejected | failed | MB / 1,000 requests |")
        print("| --- | --: | --: | --: | --: | --: | --: | --: |")
        capacity = 0.0
        for clients in CLIENT_COUNTS:
            memory_before, start_time = await load.get_memory_mb(), time.perf_counter()
            replies = await load.run_closed_loop(clients, arguments.seconds)
            elapsed = time.perf_counter() - start_time
            capacity = max(capacity, sum(code == 200 for code, _ in replies) / elapsed)
            print(
                format_row(f"{clients} clients", replies, elapsed, memory_before, await load.get_memory_mb()),
                flush=True,
            )
        for load_fraction in LOAD_FRACTIONS:
            memory_before, start_time = await load.get_memory_mb(), time.perf_counter()
            replies = await load.run_open_loop(load_fraction * capacity, arguments.seconds)
            elapsed = time.perf_counter() - start_time
            print(
                format_row(
                    f"{load_fraction:.0%} of {capacity:.0f}/s",
                    replies,
                    elapsed,
                    memory_before,
                    await load.get_memory_mb(),
                ),
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the URL of the service")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--seconds", type=float, default=10, help="the duration of each load in seconds (default: 10)")
    asyncio.run(measure(parser.parse_args()))
