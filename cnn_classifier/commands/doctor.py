"""`doctor`: look at this machine before it trains."""

import argparse
import json
import textwrap
from dataclasses import asdict
from typing import Any

from cnn_classifier.errors import ConfigError

MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def add_words(commands: Any) -> None:
    """Add `doctor` to the command line; `commands` are argparse's sub-parsers."""
    command = commands.add_parser("doctor", help="look at this machine: versions, devices, disks, and how to fix them")
    command.add_argument("--json", action="store_true", help="print the findings as JSON")
    command.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print each finding with its verdict and its fix; exit with 2 if a training would fail."""
    from cnn_classifier.doctor import WRONG, examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not arguments.json:
            print(f"{MARKS[finding.verdict]}  {finding.subject:<14} {finding.found}")
            if finding.fix:
                print(textwrap.indent(finding.fix, " " * 22 + "-> "))
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    return ConfigError.exit_code if any(finding.verdict == WRONG for finding in findings) else 0
