"""Whether a model answers alike by every way: `python scripts/measure_skew.py FOLDER RUN BUNDLE [--images 500]`.

Of the photos every fourth is made a PNG, every fourth grey, every fourth turned by its EXIF data. They go through the
checkpoint and the ONNX bundle one by one and in batches of 16, through `predict --csv`, and through a server, one
and 16 at a time. Needs the extras `serve` and `export`, and httpx2.
"""

import argparse
import asyncio
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from cnn_classifier import Prediction, Predictor
from cnn_classifier.data.walk import find_images

COMMAND = Path(sys.executable).with_name("cnn-classifier")
PORT = 18231
BATCH = 16
Probabilities = npt.NDArray[np.float64]


def varied(paths: list[Path], folder: Path) -> list[Path]:
    """The photos as PNG, grey, turned, and as they are, by turns."""
    made = []
    for index, path in enumerate(paths):
        kind = index % 4
        target = folder / f"{index:04d}{'.png' if kind == 0 else '.jpg'}"
        with Image.open(path) as image:
            turned = Image.Exif()
            turned[ExifTags.Base.Orientation] = 6 if kind == 2 else 1
            image.convert("L" if kind == 1 else "RGB").save(target, exif=turned)
        made.append(target)
    return made


def of(predictions: list[Prediction], names: list[str]) -> Probabilities:
    return np.array([[dict(prediction.top)[name] for name in names] for prediction in predictions])


def by_command(run: str, paths: list[Path], names: list[str], folder: Path) -> Probabilities:
    """The answers of `predict --csv`."""
    answers = folder / "answers.csv"
    words = ["predict", run, *map(str, paths), "--csv", str(answers), "--top", str(len(names))]
    subprocess.run([COMMAND, *words, "--device", "cpu"], check=True)
    with answers.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ranks = range(1, len(names) + 1)
    found = [{row[f"label_{rank}"]: float(row[f"probability_{rank}"]) for rank in ranks} for row in rows]
    return np.array([[row[name] for name in names] for row in found])


async def by_server(paths: list[Path], names: list[str], at_once: int) -> Probabilities:
    """The answers of the server, so many requests at a time."""
    free = asyncio.Semaphore(at_once)

    async def ask(client: httpx2.AsyncClient, path: Path) -> list[float]:
        async with free:
            reply = await client.post("/predict", params={"top": len(names)}, content=path.read_bytes())
        top = dict(reply.raise_for_status().json()["predictions"][0]["top"])
        return [top[name] for name in names]

    headers = {"content-type": "application/octet-stream"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=60, headers=headers) as client:
        return np.array(await asyncio.gather(*(ask(client, path) for path in paths)))


def served(bundle: str, paths: list[Path], names: list[str]) -> dict[str, Probabilities]:
    """The answers of a server that runs for as long as it takes."""
    words = ["serve", bundle, "--port", str(PORT)]
    process = subprocess.Popen([COMMAND, *words], stderr=subprocess.DEVNULL)
    try:
        for _ in range(150):
            try:
                if httpx2.get(f"http://127.0.0.1:{PORT}/ready").status_code == 200:
                    break
            except httpx2.TransportError:
                time.sleep(0.2)
        return {f"HTTP, {count} at a time": asyncio.run(by_server(paths, names, count)) for count in (1, BATCH)}
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("run")
    parser.add_argument("bundle")
    parser.add_argument("--images", type=int, default=500)
    arguments = parser.parse_args()
    everything = find_images([arguments.folder])
    with tempfile.TemporaryDirectory() as name:
        paths = varied(everything[:: max(1, len(everything) // arguments.images)][: arguments.images], Path(name))
        names = list(Predictor.load(arguments.run, device="cpu").class_names)
        ways: dict[str, Probabilities] = {}
        for model in (arguments.run, arguments.bundle):
            for size in (1, BATCH):
                predictor = Predictor.load(model, device="cpu", batch_size=size)
                ways[f"{model}, batches of {size}"] = of(predictor.predict(paths, top=len(names)), names)
        ways["predict --csv"] = by_command(arguments.run, paths, names, Path(name))
        ways |= served(arguments.bundle, paths, names)
    first, *others = ways
    print(f"{len(paths)} images, beside {first}\n\n| way | same class | largest difference |\n| --- | --- | --- |")
    for way in others:
        same = int((ways[way].argmax(axis=1) == ways[first].argmax(axis=1)).sum())
        print(f"| {way} | {same} of {len(paths)} | {np.abs(ways[way] - ways[first]).max():.1e} |")


if __name__ == "__main__":
    main()
