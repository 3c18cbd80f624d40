"""The `evaluate` command: metrics and a report of a model on labeled images."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import add_model_arguments, print_unreadable
from cnn_classifier.errors import ConfigError
from cnn_classifier.files import CONFIG_FILE, REPORT_HTML, REPORT_JSON, ensure_writable_dir, remove_if_empty
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
    from cnn_classifier.inference.evaluate import (
        count_seen_images,
        describe_seen_images,
        evaluate_folder,
        explain_predictions,
    )
    from cnn_classifier.inference.predictor import Predictor
    from cnn_classifier.report.console import format_evaluation
    from cnn_classifier.report.write import write_report
    from cnn_classifier.training.environment import collect_environment

    ignore_known_warnings()
    out = arguments.out or Path("outputs", "evaluations", source_name(arguments.folder))
    check_out_dir(out)
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust_module)
    evaluation = evaluate_folder(predictor, arguments.folder)
    seen = count_seen_images(Path(arguments.model), evaluation.digests)
    extra = {"checkpoint": str(arguments.model), "seen_in_training": seen, **collect_environment()}
    print(f"evaluated on {len(evaluation.labels)} images in {evaluation.folder}", file=sys.stderr)
    for note in filter(None, (*evaluation.notes, describe_seen_images(seen, len(evaluation.labels)))):
        print(note, file=sys.stderr)
    explain = partial(explain_predictions, predictor)
    content = write_report(out, evaluation, predictor.preprocess, explain, start_time=arguments.start_time, **extra)
    print(json.dumps(content, ensure_ascii=False) if arguments.json else format_evaluation(content))
    print_unreadable(evaluation.unreadable.items())
    print(f"see {out / REPORT_HTML}", file=sys.stderr)
    return 0


def check_out_dir(out: Path) -> None:
    """Check before the evaluation that its report can be written and replaces at most that of another evaluation.

    Raises:
        ConfigError: If the directory holds a training run or other files.
        StorageError: If it is not writable.
    """
    is_new = not out.exists()
    if (out / CONFIG_FILE).exists():
        raise ConfigError(
            f"--out {out} holds a training run, whose report would be replaced: expected another directory"
        )
    names = [] if is_new or out.is_file() else [path.name for path in out.iterdir() if not path.name.startswith(".")]
    if names and REPORT_JSON not in names:
        raise ConfigError(f"--out {out} contains other files, such as {min(names)}: expected a new directory")
    ensure_writable_dir(out)
    if is_new:
        remove_if_empty(out)
