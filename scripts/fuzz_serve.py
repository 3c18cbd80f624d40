"""Send damaged images to a running service: `python scripts/fuzz_serve.py http://127.0.0.1:8000 [--requests 50000]`.

Images of every format that Pillow writes are truncated, their bytes changed, repeated or replaced by those of another
image, and sent with a random content type. Prints the count of each status code and the memory of the service.
"""

import argparse
import asyncio
import io
import random
import re
from collections import Counter

import httpx2
from PIL import Image
from tqdm import tqdm

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "JPEG2000", "AVIF", "PCX")
CONTENT_TYPES = ("image/jpeg", "application/octet-stream", "multipart/form-data; boundary=x", "application/json", "a")
CONCURRENCY = 16


def encode_images() -> list[bytes]:
    """Return an image in every format, as color, grayscale and palette image if the format supports it."""
    gradient = Image.linear_gradient("L").resize((48, 40))
    encoded = []
    for image_format in FORMATS:
        for mode in ("RGB", "L", "P"):
            buffer = io.BytesIO()
            try:
                gradient.convert(mode).save(buffer, image_format)
            except (OSError, KeyError, ValueError):  # unsupported mode or format
                continue
            encoded.append(buffer.getvalue())
    return encoded


def damage_image(rng: random.Random, originals: list[bytes]) -> bytes:
    """Return a random image with one to four random mutations."""
    content = bytearray(rng.choice(originals))
    for _ in range(rng.randint(1, 4)):
        offset = rng.randrange(len(content) + 1)
        mutation = rng.randrange(5)
        if mutation == 0:
            del content[offset:]
        elif mutation == 1:
            content[offset : offset + rng.choice((1, 2, 4, 8))] = rng.randbytes(rng.choice((1, 2, 4, 8)))
        elif mutation == 2:
            content[offset:offset] = content[rng.randrange(len(content) + 1) :][:64] * rng.randint(1, 100)
        elif mutation == 3:
            content[offset:] = rng.choice(originals)[offset:]
        else:
            content[offset : offset + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
    return bytes(content)


async def get_memory_mb(client: httpx2.AsyncClient) -> float:
    """Return the resident memory of the service in megabytes."""
    match = re.search(r"^process_resident_memory_bytes (\S+)", (await client.get("/metrics")).text, re.M)
    return float(match[1]) / 1e6 if match else 0.0


async def fuzz(url: str, requests: int, seed: int) -> None:
    """Send 800 warm-up requests and then `requests` more; print status codes and memory."""
    rng, originals, codes = random.Random(seed), encode_images(), Counter[int]()
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        progress = tqdm(total=50 * CONCURRENCY + requests, disable=None)

        async def send(count: int) -> None:
            for _ in range(count):
                response = await client.post(
                    "/predict",
                    content=damage_image(rng, originals),
                    headers={"Content-Type": rng.choice(CONTENT_TYPES)},
                )
                codes[response.status_code] += 1
                progress.update()

        await asyncio.gather(*(send(50) for _ in range(CONCURRENCY)))
        memory_before = await get_memory_mb(client)
        await asyncio.gather(*(send(requests // CONCURRENCY) for _ in range(CONCURRENCY)))
        memory_after = await get_memory_mb(client)
    print(f"{sum(codes.values())} requests of {len(originals)} images: {dict(sorted(codes.items()))}")
    print(f"memory: {memory_before:.0f} MB after 800 requests, {memory_after:.0f} MB at the end")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the URL of the service")
    parser.add_argument("--requests", type=int, default=50_000, help="the number of requests (default: 50000)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the mutations (default: 0)")
    arguments = parser.parse_args()
    asyncio.run(fuzz(arguments.url, arguments.requests, arguments.seed))
