"""`evaluate`: measure a model on labelled images."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
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
    command.add_argument("--out", metavar="DIR", type=Path, help="write report.json, tables and figures there")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure a model on a folder and print the scores."""
    from cnn_classifier.evaluate import evaluate_folder
    from cnn_classifier.predictor import Predictor
    from cnn_classifier.report.write import write_report

    silence_remarks()
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust)
    evaluation = evaluate_folder(predictor, arguments.folder)
    if arguments.out:
        write_report(arguments.out, evaluation, predictor.preprocess.load, checkpoint=str(arguments.model))
    print(f"evaluated on {len(evaluation.labels)} images below {common_folder(evaluation.paths)}", file=sys.stderr)
    print(json.dumps(evaluation.as_dict(), ensure_ascii=False) if arguments.json else evaluation.text())
    tell_unreadable(evaluation.unreadable.items())
    return 0


def common_folder(paths: Sequence[str]) -> str:
    """The folder that holds them all."""
    return os.path.commonpath([Path(path).parent for path in paths])
