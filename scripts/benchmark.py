"""Compare the training speed with baselines: `python scripts/benchmark.py ROOT`, where ROOT contains train/ and test/.

The commands run alternately, so that fluctuations of the machine's speed affect all of them. Writes `docs/benchmark.md`
and a chart. Keras is included if it is installed, or if `--keras-python` names a Python that has it.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmark_page import plot_chart, render_page
from memory import PeakMemory

ROOT = Path(__file__).parent.parent
BASELINES = Path(__file__).parent / "baselines"
LOOPS_OVERRIDE = "+callbacks.loops._target_=scripts.baselines.in_training.LoopComparison"
FIRST_STEP_OVERRIDE = "+callbacks.first._target_=scripts.baselines.in_training.FirstStep"
Command = Sequence[str | Path]


def run_command(command: Command) -> tuple[str, float, float]:
    """Return the output of a command, its duration in seconds, and the peak memory of all its processes in MB."""
    start_time = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [str(argument) for argument in command], stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
        )
        memory = PeakMemory(process.pid)
        process.wait()
        seconds = time.perf_counter() - start_time
        output.seek(0)
        text = output.read()
    if process.returncode not in (0, 2):
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text[-2000:]}")
    return text, seconds, memory.stop()


def parse_rates(text: str) -> list[list[float]]:
    """Return the numbers of each `images/s …` line except the first."""
    matches = re.findall(r"^images/s (.*)$", text, re.MULTILINE)
    return [[float(number) for number in line.split()] for line in matches[1:]]


def parse_first_step(text: str) -> float:
    """Return the seconds of the `first step …` line."""
    match = re.search(r"first step ([\d.]+)", text)
    if match is None:
        raise RuntimeError(f"The output has no line `first step`:\n{text[-2000:]}")
    return float(match[1])


class Benchmark:
    """The commands of the benchmark, all on the same images.

    Args:
        root: A folder with the photos in train/ and test/ class folders.
        image_size: The image size in pixels.
        epochs: The number of epochs of each training; the first epoch is ignored.
        keras: The path of a Python that has Keras; None to skip Keras.
        folder: A folder for the runs.
    """

    def __init__(self, root: Path, *, image_size: int, epochs: int, keras: str | None, folder: Path) -> None:
        self.root, self.image_size, self.epochs = root.resolve(), image_size, epochs
        self.keras, self.folder = keras, folder
        self.num_runs = 0

    def package_command(self, *overrides: str, epochs: int | None = None) -> Command:
        """Return a training command of `cnn_classifier`."""
        self.num_runs += 1
        return [
            *(sys.executable, ROOT / "train.py", "dataset=folder", f"dataset.root={self.root}"),
            *(f"dataset.image_size={self.image_size}", "dataset.batch_size=32"),
            *("model=cnn", "optimizer=adam", "scheduler=cosine", "augment=light"),
            *(f"trainer.max_epochs={epochs or self.epochs}", f"run_dir={self.folder / str(self.num_runs)}", *overrides),
        ]

    def lightning_command(self, *arguments: str) -> Command:
        """Return a training command of the stock Lightning script."""
        return [sys.executable, BASELINES / "stock_lightning.py", self.root, f"--size={self.image_size}", *arguments]

    def measure_training(self, count: int) -> dict[str, list[float]]:
        """Return the measured images per second and peak MB of each method, from `count` alternating rounds."""
        results: dict[str, list[float]] = {}

        def record(name: str, value: float) -> None:
            results.setdefault(name, []).append(value)
            print(f"  {name} {value:.1f}", flush=True)

        for number in range(count):
            print(f"round {number + 1} of {count}", flush=True)
            for row in parse_rates(run_command(self.package_command(LOOPS_OVERRIDE))[0]):
                for name, value in zip(("with loops", "hand-written loop", "synthetic batch"), row, strict=True):
                    record(name, value)
                record("G1", row[0] / row[2])
                record("G2", row[0] / row[1])
            text, _, memory = run_command(self.package_command())
            record("cnn_classifier MB", memory)
            for line in re.findall(r"epoch .* (\d+) images/s", text)[1:]:
                record("cnn_classifier", float(line))
            torch_command: Command = [sys.executable, BASELINES / "bare_torch.py", f"--size={self.image_size}"]
            record("bare torch MB", run_command(torch_command)[2])
            text, _, memory = run_command(self.lightning_command(f"--epochs={self.epochs}"))
            record("stock Lightning MB", memory)
            for row in parse_rates(text):
                record("stock Lightning", row[0])
            if self.keras:
                keras_command: Command = [self.keras, BASELINES / "keras_seed.py", self.root]
                options = [f"--size={self.image_size}", f"--epochs={self.epochs}"]
                for row in parse_rates(run_command([*keras_command, *options])[0]):
                    record("Keras", row[0])
        return results

    def measure_startup(self, count: int) -> dict[str, list[float]]:
        """Return the seconds to the first training step, and of commands that do not import torch."""
        results: dict[str, list[float]] = {"cnn_classifier": [], "stock Lightning": [], "--help": [], "invalid key": []}
        for _ in range(count):
            command = self.package_command(FIRST_STEP_OVERRIDE, f"+callbacks.first.since={time.time()}")
            results["cnn_classifier"].append(parse_first_step(run_command(command)[0]))
            command = self.lightning_command("--workers=0", f"--first-step-since={time.time()}")
            results["stock Lightning"].append(parse_first_step(run_command(command)[0]))
            results["--help"].append(run_command([sys.executable, ROOT / "train.py", "--help"])[1])
            results["invalid key"].append(run_command(self.package_command("optimizer.momentun=1"))[1])
        return results


def main() -> None:
    """Run the benchmark and write its page and chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a folder of photos with train/ and test/")
    parser.add_argument("--rounds", type=int, default=3, help="the number of rounds (default: 3)")
    parser.add_argument("--epochs", type=int, default=3, help="the number of epochs of each training (default: 3)")
    parser.add_argument("--size", type=int, default=128, help="the image size in pixels (default: 128)")
    parser.add_argument(
        "--keras-python", default=sys.executable if find_spec("keras") else None, help="a Python that has Keras"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "docs" / "benchmark.md",
        help="the page to write (default: docs/benchmark.md)",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(
            arguments.root,
            image_size=arguments.size,
            epochs=arguments.epochs,
            keras=arguments.keras_python,
            folder=Path(folder),
        )
        run_command(benchmark.package_command(epochs=1))  # fills the caches
        startup_times = benchmark.measure_startup(arguments.rounds)
        training_speeds = benchmark.measure_training(arguments.rounds)
    plot_chart(training_speeds, arguments.out.with_suffix(".png"))
    arguments.out.write_text(render_page(training_speeds, startup_times, arguments), encoding="utf-8")
    print(arguments.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
