"""`doctor`: look at this machine before it trains."""

import argparse
import json
import textwrap
from dataclasses import asdict
from typing import Any

from cnn_classifier.errors import ConfigError

VERDICT_LABELS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def add_parser(subparsers: Any) -> None:
    """Add `doctor` to the command line; `commands` are argparse's sub-parsers."""
    parser = subparsers.add_parser("doctor", help="look at this machine: versions, devices, disks, and how to fix them")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print each finding with its verdict and its fix; exit with 2 if a training would fail."""
    from cnn_classifier.cli.doctor_checks import WRONG, run_checks

    results = []
    for finding in run_checks():
        results.append(finding)
        if not arguments.json:
            print(f"{VERDICT_LABELS[finding.verdict]}  {finding.subject:<14} {finding.detail}")
            if finding.hint:
                print(textwrap.indent(finding.hint, " " * 22 + "-> "))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in results], indent=2, ensure_ascii=False))
    return ConfigError.exit_code if any(finding.verdict == WRONG for finding in results) else 0
