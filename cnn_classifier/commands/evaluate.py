"""`evaluate`: measure a model on labelled images."""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from cnn_classifier.commands.words import add_model, tell_unreadable
from cnn_classifier.quiet import silence_remarks


def add_words(commands: Any) -> None:
    """Add `evaluate` to the command line; `commands` are argparse's sub-parsers."""
    command = commands.add_parser("evaluate", help="measure a model on a folder of class folders")
    add_model(command)
    command.add_argument(
        "folder", metavar="FOLDER", help="a folder, archive or CSV of labelled images; its test split where it has one"
    )
    command.add_argument(
        "--out", metavar="DIR", type=Path, help="of report.html, tables and figures (default outputs/evaluations/NAME)"
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure a model on a folder, print the scores, write the report."""
    from cnn_classifier.data.source import name_of
    from cnn_classifier.environment import environment
    from cnn_classifier.evaluate import evaluate_folder, explained
    from cnn_classifier.predictor import Predictor
    from cnn_classifier.report.write import write_report

    started = time.perf_counter()
    silence_remarks()
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust)
    evaluation = evaluate_folder(predictor, arguments.folder)
    about = {
        "checkpoint": str(arguments.model),
        "timing": {"total_seconds": time.perf_counter() - started},
        **environment(),
    }
    print(f"evaluated on {len(evaluation.labels)} images below {evaluation.folder}", file=sys.stderr)
    found = evaluation.as_dict() | about
    print(json.dumps(found, ensure_ascii=False) if arguments.json else evaluation.text())
    tell_unreadable(evaluation.unreadable.items())
    out = arguments.out or Path("outputs", "evaluations", name_of(arguments.folder))
    write_report(out, evaluation, predictor.preprocess, partial(explained, predictor), **about)
    print(f"see {out / 'report.html'}", file=sys.stderr)
    return 0
