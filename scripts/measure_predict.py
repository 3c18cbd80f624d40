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
from cnn_classifier.data.parallel import CORES, DECODE_THREADS
from cnn_classifier.data.walk import find_images

BATCH = 32
ALONE = 50  # answers for one image, of which the median is taken


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Measured:
    """One model's answers to the same images.

    Args:
        model: A checkpoint, run folder or bundle.
        paths: The images.
    """

    def __init__(self, model: str, paths: list[Path]) -> None:
        self.name, self.paths = model, paths
        self.predictor = Predictor.load(model, device="cpu", batch_size=BATCH)
        self.pixels = np.stack([self.predictor.preprocess.load(path) for path in paths[: 8 * BATCH]])
        self.rates: dict[str, list[float]] = {"decode": [], "network": [], "predict": [], "alone": []}

    def decode(self) -> None:
        with ThreadPoolExecutor(DECODE_THREADS) as pool:
            list(pool.map(self.predictor.preprocess.load, self.paths))

    def network(self) -> None:
        for start in range(0, len(self.pixels), BATCH):
            self.predictor.probabilities(self.pixels[start : start + BATCH])

    def measure(self) -> None:
        self.rates["decode"].append(len(self.paths) / seconds_of(self.decode))
        self.rates["network"].append(len(self.pixels) / seconds_of(self.network))
        self.rates["predict"].append(len(self.paths) / seconds_of(lambda: self.predictor.predict(self.paths)))
        one = self.pixels[:1]
        times = [seconds_of(lambda: self.predictor.probabilities(one)) for _ in range(ALONE)]
        self.rates["alone"].append(1000 * statistics.median(times))

    def row(self) -> str:
        decode, network, predict, alone = (statistics.median(values) for values in self.rates.values())
        share = predict / min(decode, network)
        return f"| {self.name} | {decode:.0f} | {network:.0f} | {predict:.0f} | {share:.2f} | {alone:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    paths = find_images([arguments.folder])
    models = [Measured(model, paths) for model in arguments.models]
    for _ in range(arguments.rounds):
        for model in models:
            model.measure()
    print(f"{len(paths)} images, batches of {BATCH}, {CORES} cores, medians of {arguments.rounds} rounds\n")
    print("| model | decode/s | network/s | predict/s | predict ÷ the slower | one image, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(model.row() for model in models))


if __name__ == "__main__":
    main()
