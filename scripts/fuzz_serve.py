"""Send damaged pictures to a running service: `python scripts/fuzz_serve.py http://127.0.0.1:8000 [--requests 50000]`.

A picture of every format Pillow writes is cut, its bytes are changed, repeated, swapped for those of another, or it is
said to be of another kind. Prints how often each status code came back, and what the service held before and after.
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
TYPES = ("image/jpeg", "application/octet-stream", "multipart/form-data; boundary=x", "application/json", "a")
AT_ONCE = 16


def pictures() -> list[bytes]:
    """One of every format, in colour, grey and with a palette where it takes them."""
    gradient = Image.linear_gradient("L").resize((48, 40))
    found = []
    for kind in FORMATS:
        for mode in ("RGB", "L", "P"):
            buffer = io.BytesIO()
            try:
                gradient.convert(mode).save(buffer, kind)
            except (OSError, KeyError, ValueError):  # not a mode of this format, or not a format of this Pillow
                continue
            found.append(buffer.getvalue())
    return found


def damaged(chance: random.Random, whole: list[bytes]) -> bytes:
    """A picture to which something happened."""
    content = bytearray(chance.choice(whole))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content) + 1)
        what = chance.randrange(5)
        if what == 0:
            del content[place:]
        elif what == 1:
            content[place : place + chance.choice((1, 2, 4, 8))] = chance.randbytes(chance.choice((1, 2, 4, 8)))
        elif what == 2:
            content[place:place] = content[chance.randrange(len(content) + 1) :][:64] * chance.randint(1, 100)
        elif what == 3:
            content[place:] = chance.choice(whole)[place:]
        else:
            content[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
    return bytes(content)


async def held(client: httpx2.AsyncClient) -> float:
    """Megabytes of the service."""
    found = re.search(r"^process_resident_memory_bytes (\S+)", (await client.get("/metrics")).text, re.M)
    return float(found[1]) / 1e6 if found else 0.0


async def fuzz(address: str, requests: int, seed: int) -> None:
    chance, whole, codes = random.Random(seed), pictures(), Counter[int]()
    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        progress = tqdm(total=50 * AT_ONCE + requests, disable=None)

        async def send(count: int) -> None:
            for _ in range(count):
                reply = await client.post(
                    "/predict", content=damaged(chance, whole), headers={"Content-Type": chance.choice(TYPES)}
                )
                codes[reply.status_code] += 1
                progress.update()

        await asyncio.gather(*(send(50) for _ in range(AT_ONCE)))
        before = await held(client)
        await asyncio.gather(*(send(requests // AT_ONCE) for _ in range(AT_ONCE)))
        after = await held(client)
    print(f"{sum(codes.values())} requests of {len(whole)} pictures: {dict(sorted(codes.items()))}")
    print(f"{before:.0f} MB after the first 800, {after:.0f} MB at the end")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    asyncio.run(fuzz(words.address, words.requests, words.seed))
