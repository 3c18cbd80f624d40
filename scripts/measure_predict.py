"""How fast a model answers: `python scripts/measure_predict.py FOLDER MODEL [MODEL …]`, models being runs or bundles.

For each model, in turns and as medians: images a second of decoding alone, of the network alone, and of both together,
as `predict` does it; and the milliseconds of one image alone.
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
NUM_SINGLE_RUNS = 50  # answers for one image, of which the median is taken


def measure_seconds(function: Callable[[], object]) -> float:
    start_time = time.perf_counter()
    function()
    return time.perf_counter() - start_time


class ModelTiming:
    """One model's answers to the same images.

    Args:
        model: A checkpoint, run folder or bundle.
        paths: The images.
    """

    def __init__(self, model: str, paths: list[Path]) -> None:
        self.name, self.paths = model, paths
        self.predictor = Predictor.load(model, device="cpu", batch_size=BATCH_SIZE)
        self.pixels = np.stack([self.predictor.preprocess.load(path) for path in paths[: 8 * BATCH_SIZE]])
        self.rates: dict[str, list[float]] = {"decode": [], "network": [], "predict": [], "alone": []}

    def decode_all(self) -> None:
        with ThreadPoolExecutor(NUM_DECODE_THREADS) as pool:
            list(pool.map(self.predictor.preprocess.load, self.paths))

    def run_network(self) -> None:
        for start in range(0, len(self.pixels), BATCH_SIZE):
            self.predictor.predict_proba(self.pixels[start : start + BATCH_SIZE])

    def measure(self) -> None:
        self.rates["decode"].append(len(self.paths) / measure_seconds(self.decode_all))
        self.rates["network"].append(len(self.pixels) / measure_seconds(self.run_network))
        self.rates["predict"].append(len(self.paths) / measure_seconds(lambda: self.predictor.predict(self.paths)))
        single_image = self.pixels[:1]
        times = [measure_seconds(lambda: self.predictor.predict_proba(single_image)) for _ in range(NUM_SINGLE_RUNS)]
        self.rates["alone"].append(1000 * statistics.median(times))

    def format_row(self) -> str:
        decode, network, predict, latency = (statistics.median(values) for values in self.rates.values())
        ratio = predict / min(decode, network)
        return f"| {self.name} | {decode:.0f} | {network:.0f} | {predict:.0f} | {ratio:.2f} | {latency:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    paths = expand_image_paths([arguments.folder])
    models = [ModelTiming(model, paths) for model in arguments.models]
    for _ in range(arguments.rounds):
        for model in models:
            model.measure()
    print(f"{len(paths)} images, batches of {BATCH_SIZE}, {NUM_CORES} cores, medians of {arguments.rounds} rounds\n")
    print("| model | decode/s | network/s | predict/s | predict ÷ the slower | one image, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(model.format_row() for model in models))


if __name__ == "__main__":
    main()
