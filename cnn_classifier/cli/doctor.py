"""The `doctor` command: checks of the machine, with a fix for each problem."""

import argparse
import json
import textwrap
from dataclasses import asdict
from typing import Any

from cnn_classifier.errors import ConfigError

VERDICT_LABELS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def add_parser(subparsers: Any) -> None:
    """Add `doctor` to the sub-parsers of argparse."""
    parser = subparsers.add_parser("doctor", help="check versions, devices and disks of this machine")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print each result with its verdict and fix; the exit code is 2 if training would fail."""
    from cnn_classifier.cli.doctor_checks import WRONG, run_checks

    results = []
    for result in run_checks():
        results.append(result)
        if not arguments.json:
            print(f"{VERDICT_LABELS[result.verdict]}  {result.subject:<14} {result.detail}")
            if result.hint:
                print(textwrap.indent(result.hint, " " * 22 + "-> "))
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2, ensure_ascii=False))
    return ConfigError.exit_code if any(result.verdict == WRONG for result in results) else 0
