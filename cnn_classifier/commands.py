"""`evaluate` and `predict`: their words, and what is done with them."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cnn_classifier import __version__
from cnn_classifier.data_commands import add_data_commands
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.quiet import silence_remarks
from cnn_classifier.storage import write_csv

if TYPE_CHECKING:
    from cnn_classifier.predictor import Prediction


class OneLineParser(argparse.ArgumentParser):
    """argparse, but a wrong word is one line like every other error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {self.prog} --help shows what is expected")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands but `train`, whose words are Hydra's."""
    top = OneLineParser(
        prog="cnn-classifier",
        description="From a folder of images to a trained, tested, reusable classifier.",
    )
    top.add_argument("--version", action="version", version=f"cnn_classifier {__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser(
        "train", help="train and test a classifier; `train --help` lists the configuration", add_help=False
    )

    evaluate = commands.add_parser("evaluate", help="measure a checkpoint on a folder of class folders")
    evaluate.add_argument("checkpoint", metavar="CKPT")
    evaluate.add_argument(
        "folder", metavar="FOLDER", help="a folder, archive or CSV of labelled images; its test split where it has one"
    )
    evaluate.add_argument("--out", metavar="DIR", type=Path, help="write report.json, tables and figures there")
    evaluate.add_argument("--json", action="store_true", help="print the report as JSON")
    evaluate.set_defaults(command=evaluate_command)

    predict = commands.add_parser("predict", help="say what is on images")
    predict.add_argument("checkpoint", metavar="CKPT")
    predict.add_argument("sources", metavar="IMAGE|FOLDER|GLOB", nargs="+")
    predict.add_argument("--csv", metavar="OUT", type=Path, help="write path, label, probability and top classes")
    predict.add_argument("--json", action="store_true", help="print one JSON list")
    predict.add_argument("--top", metavar="K", type=positive, default=1, help="the K likeliest classes (default 1)")
    predict.set_defaults(command=predict_command)
    add_data_commands(commands)
    for command in (evaluate, predict):
        command.add_argument("--device", help="cpu, cuda or mps; by default the fastest")
        command.add_argument(
            "--trust", metavar="PREFIX", action="append", default=[], help="import paths of your own networks"
        )
    return top


def positive(word: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is below 1")
    return number


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Measure a checkpoint on a folder and print the scores."""
    from cnn_classifier.evaluate import evaluate_folder
    from cnn_classifier.predictor import Predictor
    from cnn_classifier.report.write import write_report

    silence_remarks()
    predictor = Predictor.from_checkpoint(arguments.checkpoint, device=arguments.device, trusted=arguments.trust)
    evaluation = evaluate_folder(predictor, arguments.folder)
    if arguments.out:
        write_report(arguments.out, evaluation, predictor.preprocess.load, checkpoint=arguments.checkpoint)
    print(f"evaluated on {len(evaluation.labels)} images below {common_folder(evaluation.paths)}", file=sys.stderr)
    print(json.dumps(evaluation.as_dict(), ensure_ascii=False) if arguments.json else evaluation.text())
    tell_unreadable(evaluation.unreadable.items())
    return 0


def predict_command(arguments: argparse.Namespace) -> int:
    """Answer for every image, as lines, CSV or JSON; unreadable ones go to standard error."""
    from tqdm import tqdm

    from cnn_classifier.predictor import Predictor, find_images

    silence_remarks()
    paths = find_images(arguments.sources)
    predictor = Predictor.from_checkpoint(arguments.checkpoint, device=arguments.device, trusted=arguments.trust)
    stream = predictor.stream(paths, top=arguments.top)
    # A bar between lines of answers would be in their way.
    quiet = None if arguments.csv or arguments.json else True
    answers = iter(tqdm(stream, "predicting", len(paths), disable=quiet, leave=False))
    if not arguments.csv and not arguments.json:
        answers = shown(answers)
    predictions = list(answers)
    if arguments.csv:
        write_csv(arguments.csv, answer_rows(predictions, arguments.top))
    if arguments.json:
        print(json.dumps([asdict(prediction) for prediction in predictions], indent=2, ensure_ascii=False))
    unreadable = [(str(prediction.path), prediction.error) for prediction in predictions if prediction.error]
    if len(unreadable) == len(predictions):
        path, reason = unreadable[0]
        raise DataError(f"none of the {len(predictions)} files is a readable image; the first is {path}: {reason}")
    tell_unreadable(unreadable)
    return 0


def shown(predictions: Iterable["Prediction"]) -> Iterator["Prediction"]:
    """Print each answer as it comes."""
    for prediction in predictions:
        if not prediction.error:
            print(f"{prediction.path}  {'  '.join(f'{name} {share:.4f}' for name, share in prediction.top)}")
        yield prediction


def answer_rows(predictions: Iterable["Prediction"], top: int) -> Iterator[list[str]]:
    """A header and one row an image; the likeliest classes beyond the first follow in pairs of columns."""
    more = [column for rank in range(2, top + 1) for column in (f"label_{rank}", f"probability_{rank}")]
    yield ["path", "label", "probability", *more, "error"]
    for prediction in predictions:
        ranked = [value for name, share in prediction.top for value in (name, f"{share:.6f}")]
        yield [str(prediction.path), *ranked, *[""] * (2 * top - len(ranked)), prediction.error or ""]


def common_folder(paths: Sequence[str]) -> str:
    """The folder that holds them all."""
    return os.path.commonpath([Path(path).parent for path in paths])


def tell_unreadable(files: Iterable[tuple[str, str | None]]) -> None:
    """One line on standard error for each file that is no image."""
    for path, reason in files:
        print(f"unreadable: {path}: {reason}", file=sys.stderr)
