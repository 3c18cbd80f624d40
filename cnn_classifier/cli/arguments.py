"""Command-line arguments that several commands share."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and the options that determine how it is loaded."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="a checkpoint, a run directory or an exported bundle")
    parser.add_argument("--device", help="cpu, cuda or mps (default: the fastest available)")
    parser.add_argument(
        "--trust-module",
        metavar="PREFIX",
        action="append",
        default=[],
        help="import path of custom modules that a checkpoint may instantiate; can be repeated",
    )


def add_threshold_argument(parser: argparse.ArgumentParser) -> None:
    """Add the probability below which a prediction is rejected."""
    parser.add_argument(
        "--threshold",
        metavar="T",
        type=fraction,
        help="minimum probability; predictions below it are rejected (default: the calibrated threshold of the model)",
    )


def positive_int(text: str) -> int:
    """Parse an integer of at least 1; an argparse type."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range: expected at least 1")
    return number


def fraction(text: str) -> float:
    """Parse a number from 0 to 1; an argparse type."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range: expected 0 to 1")
    return number


def print_unreadable(files: Iterable[tuple[str, str | None]]) -> None:
    """Print the path of each unreadable file and the reason to standard error, one per line."""
    for path, reason in files:
        print(f"unreadable: {path}: {reason}", file=sys.stderr)
