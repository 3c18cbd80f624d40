"""Measure the speed of inference: `python scripts/measure_predict.py FOLDER MODEL [MODEL …]`.

Prints for each model, a run or a bundle, the images per second of decoding, of the network, and of `predict`, which
does both, and the latency of a single image. The models are measured alternately; all values are medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnn_classifier import Predictor
from cnn_classifier.data.parallel import NUM_CORES, NUM_DECODE_THREADS
from cnn_classifier.data.sources.listing import expand_image_paths

BATCH_SIZE = 32
NUM_SINGLE_RUNS = 50  # repetitions of the latency measurement


def measure_seconds(function: Callable[[], object]) -> float:
    """Return the duration of one call in seconds."""
    start_time = time.perf_counter()
    function()
    return time.perf_counter() - start_time


class ModelTiming:
    """The measurements of one model.

    Args:
        model: The path of a checkpoint, run directory or bundle.
        paths: The paths of the images.
    """

    def __init__(self, model: str, paths: list[Path]) -> None:
        self.name, self.paths = model, paths
        self.predictor = Predictor.load(model, device="cpu", batch_size=BATCH_SIZE)
        self.pixels = np.stack([self.predictor.preprocess.load(path) for path in paths[: 8 * BATCH_SIZE]])
        self.rates: dict[str, list[float]] = {"decode": [], "network": [], "predict": [], "latency": []}

    def decode_all(self) -> None:
        """Decode all images with several threads."""
        with ThreadPoolExecutor(NUM_DECODE_THREADS) as pool:
            list(pool.map(self.predictor.preprocess.load, self.paths))

    def run_network(self) -> None:
        """Predict the decoded images in batches."""
        for start in range(0, len(self.pixels), BATCH_SIZE):
            self.predictor.predict_proba(self.pixels[start : start + BATCH_SIZE])

    def measure(self) -> None:
        """Add one measurement of each rate."""
        self.rates["decode"].append(len(self.paths) / measure_seconds(self.decode_all))
        self.rates["network"].append(len(self.pixels) / measure_seconds(self.run_network))
        self.rates["predict"].append(len(self.paths) / measure_seconds(lambda: self.predictor.predict(self.paths)))
        single_image = self.pixels[:1]
        times = [measure_seconds(lambda: self.predictor.predict_proba(single_image)) for _ in range(NUM_SINGLE_RUNS)]
        self.rates["latency"].append(1000 * statistics.median(times))

    def format_row(self) -> str:
        """Return the medians as a table row."""
        decode, network, predict, latency = (statistics.median(values) for values in self.rates.values())
        ratio = predict / min(decode, network)
        return f"| {self.name} | {decode:.0f} | {network:.0f} | {predict:.0f} | {ratio:.2f} | {latency:.2f} |"


def main() -> None:
    """Measure all models alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a folder of images")
    parser.add_argument("models", nargs="+", help="run directories, checkpoints or bundles")
    parser.add_argument("--rounds", type=int, default=3, help="the number of measurements (default: 3)")
    arguments = parser.parse_args()
    paths = expand_image_paths([arguments.folder])
    models = [ModelTiming(model, paths) for model in arguments.models]
    for _ in range(arguments.rounds):
        for model in models:
            model.measure()
    print(f"{len(paths)} images, batches of {BATCH_SIZE}, {NUM_CORES} cores, medians of {arguments.rounds} rounds\n")
    print("| model | decode/s | network/s | predict/s | predict ÷ min(decode, network) | one image, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(model.format_row() for model in models))


if __name__ == "__main__":
    main()
