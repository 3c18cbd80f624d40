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
from cnn_classifier.data.sources.listing import expand_image_paths

COMMAND = Path(sys.executable).with_name("cnn-classifier")
PORT = 18231
BATCH_SIZE = 16
Probabilities = npt.NDArray[np.float64]


def vary_images(paths: list[Path], folder: Path) -> list[Path]:
    """The photos as PNG, grey, turned, and as they are, by turns."""
    varied_paths = []
    for index, path in enumerate(paths):
        kind = index % 4
        target = folder / f"{index:04d}{'.png' if kind == 0 else '.jpg'}"
        with Image.open(path) as image:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = 6 if kind == 2 else 1
            image.convert("L" if kind == 1 else "RGB").save(target, exif=exif)
        varied_paths.append(target)
    return varied_paths


def to_probabilities(predictions: list[Prediction], names: list[str]) -> Probabilities:
    return np.array([[dict(prediction.top_k)[name] for name in names] for prediction in predictions])


def predict_by_command(run: str, paths: list[Path], names: list[str], folder: Path) -> Probabilities:
    """The answers of `predict --csv`."""
    csv_path = folder / "answers.csv"
    command = ["predict", run, *map(str, paths), "--csv", str(csv_path), "--top-k", str(len(names))]
    subprocess.run([COMMAND, *command, "--device", "cpu"], check=True)
    with csv_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ranks = range(1, len(names) + 1)
    rows_by_label = [{row[f"label_{rank}"]: float(row[f"probability_{rank}"]) for rank in ranks} for row in rows]
    return np.array([[row[name] for name in names] for row in rows_by_label])


async def predict_by_server(paths: list[Path], names: list[str], concurrency: int) -> Probabilities:
    """The answers of the server, so many requests at a time."""
    semaphore = asyncio.Semaphore(concurrency)

    async def send_request(client: httpx2.AsyncClient, path: Path) -> list[float]:
        async with semaphore:
            response = await client.post("/predict", params={"top_k": len(names)}, content=path.read_bytes())
        top = dict(response.raise_for_status().json()["predictions"][0]["top_k"])
        return [top[name] for name in names]

    headers = {"content-type": "application/octet-stream"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=60, headers=headers) as client:
        return np.array(await asyncio.gather(*(send_request(client, path) for path in paths)))


def predict_by_service(bundle: str, paths: list[Path], names: list[str]) -> dict[str, Probabilities]:
    """The answers of a server that runs for as long as it takes."""
    command = ["serve", bundle, "--port", str(PORT)]
    process = subprocess.Popen([COMMAND, *command], stderr=subprocess.DEVNULL)
    try:
        for _ in range(150):
            try:
                if httpx2.get(f"http://127.0.0.1:{PORT}/ready").status_code == 200:
                    break
            except httpx2.TransportError:
                time.sleep(0.2)
        return {
            f"HTTP, {count} at a time": asyncio.run(predict_by_server(paths, names, count)) for count in (1, BATCH_SIZE)
        }
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
    all_paths = expand_image_paths([arguments.folder])
    with tempfile.TemporaryDirectory() as folder:
        paths = vary_images(all_paths[:: max(1, len(all_paths) // arguments.images)][: arguments.images], Path(folder))
        names = list(Predictor.load(arguments.run, device="cpu").class_names)
        results: dict[str, Probabilities] = {}
        for model in (arguments.run, arguments.bundle):
            for size in (1, BATCH_SIZE):
                predictor = Predictor.load(model, device="cpu", batch_size=size)
                results[f"{model}, batches of {size}"] = to_probabilities(
                    predictor.predict(paths, top_k=len(names)), names
                )
        results["predict --csv"] = predict_by_command(arguments.run, paths, names, Path(folder))
        results |= predict_by_service(arguments.bundle, paths, names)
    first, *others = results
    print(f"{len(paths)} images, beside {first}\n\n| way | same class | largest difference |\n| --- | --- | --- |")
    for method in others:
        num_same = int((results[method].argmax(axis=1) == results[first].argmax(axis=1)).sum())
        print(f"| {method} | {num_same} of {len(paths)} | {np.abs(results[method] - results[first]).max():.1e} |")


if __name__ == "__main__":
    main()
