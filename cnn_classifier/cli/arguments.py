"""Words that several commands share."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, and how it is loaded."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="a checkpoint, a run folder or an exported bundle")
    parser.add_argument("--device", help="cpu, cuda or mps; by default the fastest")
    parser.add_argument(
        "--trust", metavar="PREFIX", action="append", default=[], help="import paths of your own networks"
    )


def positive_int(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def fraction(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return number


def print_unreadable(files: Iterable[tuple[str, str | None]]) -> None:
    """One line on standard error for each file that is no image."""
    for path, reason in files:
        print(f"unreadable: {path}: {reason}", file=sys.stderr)
