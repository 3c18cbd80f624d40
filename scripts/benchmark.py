"""Measure a training of ours beside what people use: `python scripts/benchmark.py ROOT`, ROOT holding train/ and test/.

The commands take turns, round by round, so that a machine's moods fall on all of them. Writes `docs/benchmark.md` and a
chart. Keras takes part where it is installed, or where `--keras-python` names a Python that has it.
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
    """What a command prints, the seconds it takes, and the most memory of all its processes in MB."""
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
    """The numbers of every line `images/s …` after the first."""
    matches = re.findall(r"^images/s (.*)$", text, re.MULTILINE)
    return [[float(number) for number in line.split()] for line in matches[1:]]


def parse_first_step(text: str) -> float:
    match = re.search(r"first step ([\d.]+)", text)
    if match is None:
        raise RuntimeError(f"no first step in:\n{text[-2000:]}")
    return float(match[1])


class Benchmark:
    """The commands, all on the same images.

    Args:
        root: Photos in train/ and test/ class folders.
        size: Side in pixels.
        epochs: Of each training; the first is left out.
        keras: A Python that has Keras; None if there is none.
    """

    def __init__(self, root: Path, *, image_size: int, epochs: int, keras: str | None, folder: Path) -> None:
        self.root, self.image_size, self.epochs, self.keras, self.folder = (
            root.resolve(),
            image_size,
            epochs,
            keras,
            folder,
        )
        self.runs = 0

    def our_command(self, *overrides: str, epochs: int | None = None) -> Command:
        self.runs += 1
        return [
            *(sys.executable, ROOT / "train.py", "dataset=folder", f"dataset.root={self.root}"),
            *(
                f"dataset.image_size={self.image_size}",
                "dataset.batch_size=32",
                f"trainer.max_epochs={epochs or self.epochs}",
            ),
            *("model=cnn", "optimizer=adam", "scheduler=cosine", "augment=light"),
            *(f"run_dir={self.folder / str(self.runs)}", *overrides),
        ]

    def lightning_command(self, *arguments: str) -> Command:
        return [sys.executable, BASELINES / "usual_lightning.py", self.root, f"--size={self.image_size}", *arguments]

    def measure_training(self, count: int) -> dict[str, list[float]]:
        """Images a second and megabytes of every way of training, by turns."""
        results: dict[str, list[float]] = {}

        def record(name: str, value: float) -> None:
            results.setdefault(name, []).append(value)
            print(f"  {name} {value:.1f}", flush=True)

        for number in range(count):
            print(f"round {number + 1} of {count}", flush=True)
            for row in parse_rates(run_command(self.our_command(LOOPS_OVERRIDE))[0]):
                for name, value in zip(("with loops", "hand-written loop", "synthetic batch"), row, strict=True):
                    record(name, value)
                record("G1", row[0] / row[2])
                record("G2", row[0] / row[1])
            text, _, memory = run_command(self.our_command())
            record("ours MB", memory)
            for line in re.findall(r"epoch .* (\d+) images/s", text)[1:]:
                record("ours", float(line))
            record(
                "bare torch MB",
                run_command([sys.executable, BASELINES / "bare_torch.py", f"--size={self.image_size}"])[2],
            )
            text, _, memory = run_command(self.lightning_command(f"--epochs={self.epochs}"))
            record("usual MB", memory)
            for row in parse_rates(text):
                record("usual Lightning", row[0])
            if self.keras:
                command: list[str | Path] = [
                    self.keras,
                    BASELINES / "keras_seed.py",
                    self.root,
                    f"--size={self.image_size}",
                ]
                for row in parse_rates(run_command([*command, f"--epochs={self.epochs}"])[0]):
                    record("Keras", row[0])
        return results

    def measure_startup(self, count: int) -> dict[str, list[float]]:
        """Seconds to the first step, and of what answers without torch."""
        results: dict[str, list[float]] = {"ours": [], "usual Lightning": [], "--help": [], "a wrong key": []}
        for _ in range(count):
            results["ours"].append(
                parse_first_step(
                    run_command(self.our_command(FIRST_STEP_OVERRIDE, f"+callbacks.first.since={time.time()}"))[0]
                )
            )
            results["usual Lightning"].append(
                parse_first_step(
                    run_command(self.lightning_command("--workers=0", f"--first-step-since={time.time()}"))[0]
                )
            )
            results["--help"].append(run_command([sys.executable, ROOT / "train.py", "--help"])[1])
            results["a wrong key"].append(run_command(self.our_command("optimizer.momentun=1"))[1])
        return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--keras-python", default=sys.executable if find_spec("keras") else None)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmark.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(
            arguments.root,
            image_size=arguments.size,
            epochs=arguments.epochs,
            keras=arguments.keras_python,
            folder=Path(folder),
        )
        run_command(benchmark.our_command(epochs=1))  # fills the caches
        startup_times = benchmark.measure_startup(arguments.rounds)
        training_speeds = benchmark.measure_training(arguments.rounds)
    plot_chart(training_speeds, arguments.out.with_suffix(".png"))
    arguments.out.write_text(render_page(training_speeds, startup_times, arguments), encoding="utf-8")
    print(arguments.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
