"""Compare the time of one sweep with separate commands: `python scripts/measure_sweep.py FOLDER [OVERRIDE …]`.

Eight short trainings with different seeds run alternately as one sweep and as eight commands; the medians are printed.
The images are decoded before the measurement. Additional overrides apply to both.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = Path(__file__).parent.parent / "train.py"
NUM_JOBS = 8
# A job takes a few seconds, so that the shared startup time has the largest effect.
SHORT_OVERRIDES = ["trainer.max_epochs=1", "dataset.image_size=64", "model=cnn"]


def time_command(*overrides: str) -> float:
    """Return the duration of one training command in seconds."""
    start_time = time.perf_counter()
    subprocess.run(
        [sys.executable, TRAIN, *overrides], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start_time


def main() -> None:
    """Run both methods alternately and print their times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of images")
    parser.add_argument("overrides", nargs="*", help="additional overrides")
    parser.add_argument("--rounds", type=int, default=3, help="the number of measurements of each method (default: 3)")
    arguments = parser.parse_args()
    overrides = [
        "dataset=folder",
        f"dataset.root={arguments.folder.absolute()}",
        *SHORT_OVERRIDES,
        *arguments.overrides,
    ]
    seeds = range(NUM_JOBS)
    seconds_by_method: dict[str, list[float]] = {"one sweep": [], "separate commands": []}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        time_command(*overrides)
        for _ in range(arguments.rounds):
            seconds_by_method["one sweep"].append(time_command("-m", *overrides, f"seed={','.join(map(str, seeds))}"))
            seconds_by_method["separate commands"].append(
                sum(time_command(*overrides, f"seed={seed}") for seed in seeds)
            )
    for name, seconds in seconds_by_method.items():
        print(f"{name}: median {statistics.median(seconds):.1f} s of {', '.join(f'{value:.1f}' for value in seconds)}")
    sweep, separate = map(statistics.median, seconds_by_method.values())
    print(f"ratio {sweep / separate:.2f}, medians of {arguments.rounds} rounds")


if __name__ == "__main__":
    main()
