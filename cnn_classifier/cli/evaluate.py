"""The `evaluate` command: metrics and a report of a model on labeled images."""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import add_model_arguments, print_unreadable
from cnn_classifier.files import REPORT_HTML
from cnn_classifier.training.environment import ignore_known_warnings


def add_parser(subparsers: Any) -> None:
    """Add `evaluate` to the sub-parsers of argparse."""
    parser = subparsers.add_parser("evaluate", help="evaluate a model on labeled images")
    add_model_arguments(parser)
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="a folder of class folders, an archive or a CSV; only its test split, if it has one",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="the directory of the report, tables and figures (default: outputs/evaluations/NAME)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate a model, print the metrics and write the report."""
    from cnn_classifier.data.sources.resolve import source_name
    from cnn_classifier.inference.evaluate import evaluate_folder, explain_predictions
    from cnn_classifier.inference.predictor import Predictor
    from cnn_classifier.report.console import format_evaluation
    from cnn_classifier.report.write import write_report
    from cnn_classifier.training.environment import collect_environment

    start_time = time.perf_counter()
    ignore_known_warnings()
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust_module)
    evaluation = evaluate_folder(predictor, arguments.folder)
    extra = {
        "checkpoint": str(arguments.model),
        "timing": {"total_seconds": time.perf_counter() - start_time},
        **collect_environment(),
    }
    print(f"evaluated on {len(evaluation.labels)} images in {evaluation.folder}", file=sys.stderr)
    for note in evaluation.notes:
        print(note, file=sys.stderr)
    content = evaluation.to_dict() | extra
    print(json.dumps(content, ensure_ascii=False) if arguments.json else format_evaluation(content))
    print_unreadable(evaluation.unreadable.items())
    out = arguments.out or Path("outputs", "evaluations", source_name(arguments.folder))
    write_report(out, evaluation, predictor.preprocess, partial(explain_predictions, predictor), **extra)
    print(f"see {out / REPORT_HTML}", file=sys.stderr)
    return 0
