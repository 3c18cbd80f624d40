"""Compare the predictions of all inference paths: `python scripts/measure_skew.py FOLDER RUN BUNDLE [--images 500]`.

A quarter of the photos is converted to PNG, a quarter to grayscale, and a quarter is rotated by EXIF orientation. They
are predicted by the checkpoint and the ONNX bundle one at a time and in batches of 16, by `predict --csv`, and by a
server with 1 and 16 concurrent requests. Requires the extras `serve` and `export`, and httpx2.
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
    """Write the photos in turn as PNG, grayscale, rotated by EXIF orientation, and unchanged; return the new paths."""
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
    """Convert predictions to probabilities, shape (N, K)."""
    return np.array([[dict(prediction.top_k)[name] for name in names] for prediction in predictions])


def predict_by_command(run: str, paths: list[Path], names: list[str], folder: Path) -> Probabilities:
    """Return the probabilities of `predict --csv`, shape (N, K)."""
    csv_path = folder / "predictions.csv"
    command = ["predict", run, *map(str, paths), "--csv", str(csv_path), "--top-k", str(len(names))]
    subprocess.run([COMMAND, *command, "--device", "cpu"], check=True)
    with csv_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ranks = range(1, len(names) + 1)
    rows_by_label = [{row[f"label_{rank}"]: float(row[f"probability_{rank}"]) for rank in ranks} for row in rows]
    return np.array([[row[name] for name in names] for row in rows_by_label])


async def predict_by_server(paths: list[Path], names: list[str], concurrency: int) -> Probabilities:
    """Return the probabilities of a running server with a number of concurrent requests, shape (N, K)."""
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
    """Start a server and return its probabilities with 1 and 16 concurrent requests."""
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
            f"HTTP, {count} concurrent": asyncio.run(predict_by_server(paths, names, count))
            for count in (1, BATCH_SIZE)
        }
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Predict the same images with each method and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of photos")
    parser.add_argument("run", help="a run directory or checkpoint")
    parser.add_argument("bundle", help="an ONNX bundle")
    parser.add_argument("--images", type=int, default=500, help="the maximum number of photos (default: 500)")
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
    print(
        f"{len(paths)} images, compared with {first}\n\n| method | same class | max. difference |\n| --- | --- | --- |"
    )
    for method in others:
        num_same = int((results[method].argmax(axis=1) == results[first].argmax(axis=1)).sum())
        print(f"| {method} | {num_same} of {len(paths)} | {np.abs(results[method] - results[first]).max():.1e} |")


if __name__ == "__main__":
    main()
