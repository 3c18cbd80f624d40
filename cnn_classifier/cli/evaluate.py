"""`evaluate`: measure a model on labelled images."""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import add_model_arguments, print_unreadable
from cnn_classifier.training.environment import ignore_known_warnings


def add_parser(subparsers: Any) -> None:
    """Add `evaluate` to the command line; `commands` are argparse's sub-parsers."""
    parser = subparsers.add_parser("evaluate", help="measure a model on a folder of class folders")
    add_model_arguments(parser)
    parser.add_argument(
        "folder", metavar="FOLDER", help="a folder, archive or CSV of labelled images; its test split where it has one"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="of report.html, tables and figures (default outputs/evaluations/NAME)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure a model on a folder, print the scores, write the report."""
    from cnn_classifier.data.sources.resolve import source_name
    from cnn_classifier.inference.evaluate import evaluate_folder, explain_predictions
    from cnn_classifier.inference.predictor import Predictor
    from cnn_classifier.report.write import write_report
    from cnn_classifier.training.environment import collect_environment

    start_time = time.perf_counter()
    ignore_known_warnings()
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust)
    evaluation = evaluate_folder(predictor, arguments.folder)
    extra = {
        "checkpoint": str(arguments.model),
        "timing": {"total_seconds": time.perf_counter() - start_time},
        **collect_environment(),
    }
    print(f"evaluated on {len(evaluation.labels)} images below {evaluation.folder}", file=sys.stderr)
    content = evaluation.to_dict() | extra
    print(json.dumps(content, ensure_ascii=False) if arguments.json else evaluation.format())
    print_unreadable(evaluation.unreadable.items())
    out = arguments.out or Path("outputs", "evaluations", source_name(arguments.folder))
    write_report(out, evaluation, predictor.preprocess, partial(explain_predictions, predictor), **extra)
    print(f"see {out / 'report.html'}", file=sys.stderr)
    return 0
