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

from benchmark_page import chart, page
from memory import PeakMemory

ROOT = Path(__file__).parent.parent
RIVALS = Path(__file__).parent / "rivals"
LOOPS = "+callbacks.loops._target_=scripts.rivals.in_training.Loops"
FIRST_STEP = "+callbacks.first._target_=scripts.rivals.in_training.FirstStep"
Command = Sequence[str | Path]


def run(command: Command) -> tuple[str, float, float]:
    """What a command prints, the seconds it takes, and the most memory of all its processes in MB."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
        memory = PeakMemory(process.pid)
        process.wait()
        seconds = time.perf_counter() - started
        out.seek(0)
        text = out.read()
    if process.returncode not in (0, 2):
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text[-2000:]}")
    return text, seconds, memory.stop()


def rates(text: str) -> list[list[float]]:
    """The numbers of every line `images/s …` after the first."""
    lines = re.findall(r"^images/s (.*)$", text, re.MULTILINE)
    return [[float(number) for number in line.split()] for line in lines[1:]]


def first_step(text: str) -> float:
    found = re.search(r"first step ([\d.]+)", text)
    if found is None:
        raise RuntimeError(f"no first step in:\n{text[-2000:]}")
    return float(found[1])


class Benchmark:
    """The commands, all on the same images.

    Args:
        root: Photos in train/ and test/ class folders.
        size: Side in pixels.
        epochs: Of each training; the first is left out.
        keras: A Python that has Keras; None if there is none.
    """

    def __init__(self, root: Path, *, size: int, epochs: int, keras: str | None, folder: Path) -> None:
        self.root, self.size, self.epochs, self.keras, self.folder = root.resolve(), size, epochs, keras, folder
        self.runs = 0

    def ours(self, *words: str, epochs: int | None = None) -> Command:
        self.runs += 1
        return [
            *(sys.executable, ROOT / "train.py", "dataset=folder", f"dataset.root={self.root}"),
            *(
                f"dataset.image_size={self.size}",
                "dataset.batch_size=32",
                f"trainer.max_epochs={epochs or self.epochs}",
            ),
            *("model=cnn", "optimizer=adam", "scheduler=cosine", "augment=light"),
            *(f"run_dir={self.folder / str(self.runs)}", *words),
        ]

    def usual(self, *words: str) -> Command:
        return [sys.executable, RIVALS / "usual_lightning.py", self.root, f"--size={self.size}", *words]

    def rounds(self, count: int) -> dict[str, list[float]]:
        """Images a second and megabytes of every way of training, by turns."""
        found: dict[str, list[float]] = {}

        def note(name: str, value: float) -> None:
            found.setdefault(name, []).append(value)
            print(f"  {name} {value:.1f}", flush=True)

        for number in range(count):
            print(f"round {number + 1} of {count}", flush=True)
            for row in rates(run(self.ours(LOOPS))[0]):
                for name, value in zip(("with loops", "hand-written loop", "synthetic batch"), row, strict=True):
                    note(name, value)
                note("G1", row[0] / row[2])
                note("G2", row[0] / row[1])
            text, _, memory = run(self.ours())
            note("ours MB", memory)
            for line in re.findall(r"epoch .* (\d+) images/s", text)[1:]:
                note("ours", float(line))
            note("bare torch MB", run([sys.executable, RIVALS / "bare_torch.py", f"--size={self.size}"])[2])
            text, _, memory = run(self.usual(f"--epochs={self.epochs}"))
            note("usual MB", memory)
            for row in rates(text):
                note("usual Lightning", row[0])
            if self.keras:
                command: list[str | Path] = [self.keras, RIVALS / "keras_seed.py", self.root, f"--size={self.size}"]
                for row in rates(run([*command, f"--epochs={self.epochs}"])[0]):
                    note("Keras", row[0])
        return found

    def starts(self, count: int) -> dict[str, list[float]]:
        """Seconds to the first step, and of what answers without torch."""
        found: dict[str, list[float]] = {"ours": [], "usual Lightning": [], "--help": [], "a wrong key": []}
        for _ in range(count):
            found["ours"].append(first_step(run(self.ours(FIRST_STEP, f"+callbacks.first.since={time.time()}"))[0]))
            found["usual Lightning"].append(
                first_step(run(self.usual("--workers=0", f"--first-step-since={time.time()}"))[0])
            )
            found["--help"].append(run([sys.executable, ROOT / "train.py", "--help"])[1])
            found["a wrong key"].append(run(self.ours("optimizer.momentun=1"))[1])
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--keras-python", default=sys.executable if find_spec("keras") else None)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmark.md")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(
            words.root, size=words.size, epochs=words.epochs, keras=words.keras_python, folder=Path(folder)
        )
        run(benchmark.ours(epochs=1))  # fills the caches
        starts = benchmark.starts(words.rounds)
        speeds = benchmark.rounds(words.rounds)
    chart(speeds, words.out.with_suffix(".png"))
    words.out.write_text(page(speeds, starts, words), encoding="utf-8")
    print(words.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
