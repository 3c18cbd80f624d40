"""`predict` and `unsort`: answers for images as lines, CSV or JSON, or as folders of them."""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.commands.words import add_model, positive, share, tell_unreadable
from cnn_classifier.errors import DataError
from cnn_classifier.quiet import silence_remarks
from cnn_classifier.storage import write_csv

if TYPE_CHECKING:
    from cnn_classifier.predictor import Prediction


def add_words(commands: Any) -> None:
    """Add `predict` and `unsort` to the command line; `commands` are argparse's sub-parsers."""
    command = commands.add_parser("predict", help="say what is on images, or sort them into folders")
    add_model(command)
    command.add_argument("sources", metavar="IMAGE|FOLDER|GLOB", nargs="+")
    command.add_argument("--csv", metavar="OUT", type=Path, help="write path, label, probability and top classes")
    command.add_argument("--json", action="store_true", help="print one JSON list")
    command.add_argument("--top", metavar="K", type=positive, default=1, help="the K likeliest classes (default 1)")
    command.add_argument(
        "--threshold", metavar="T", type=share, help="below this probability say `unknown` (default: the model's own)"
    )
    command.add_argument("--flip", action="store_true", help="average each answer with that of the mirror image")
    command.add_argument(
        "--sort-into",
        metavar="DIR",
        type=Path,
        help="a folder a class, uncertain/, unreadable/; nothing is replaced",
    )
    way = command.add_mutually_exclusive_group()
    for name, told in (("copy", "(default)"), ("link", "by symbolic links"), ("move", "the files themselves")):
        way.add_argument(f"--{name}", dest="way", action="store_const", const=name, help=f"sort {told}")
    command.set_defaults(command=run, way="copy")
    command = commands.add_parser("unsort", help="undo what predict --sort-into did")
    command.add_argument("folder", metavar="DIR", type=Path, help="the folder that was sorted into")
    command.set_defaults(command=run_unsort)


def run(arguments: argparse.Namespace) -> int:
    """Answer for every image; unreadable ones go to standard error."""
    from tqdm import tqdm

    from cnn_classifier.data.walk import find_images
    from cnn_classifier.predictor import Predictor
    from cnn_classifier.sorting import Sorter

    silence_remarks()
    paths = find_images(arguments.sources)
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust)
    sorter = Sorter(arguments.sort_into, arguments.way) if arguments.sort_into else None
    stream = predictor.stream(paths, top=arguments.top, threshold=arguments.threshold, flip=arguments.flip)
    # A bar between lines of answers would be in their way.
    lines = not (arguments.csv or arguments.json or sorter)
    predictions = []
    for prediction in tqdm(stream, "predicting", len(paths), disable=True if lines else None, leave=False):
        predictions.append(prediction)
        if sorter is not None:
            sorter.place(prediction)
        if lines and not prediction.error:
            print(line_of(prediction))
    if arguments.csv:
        write_csv(arguments.csv, answer_rows(predictions, arguments.top))
    if arguments.json:
        print(json.dumps([asdict(prediction) for prediction in predictions], indent=2, ensure_ascii=False))
    elif sorter is not None:
        print(sorter.summary())
    unreadable = [(str(prediction.path), prediction.error) for prediction in predictions if prediction.error]
    if len(unreadable) == len(predictions):
        path, reason = unreadable[0]
        raise DataError(f"none of the {len(predictions)} files is a readable image; the first is {path}: {reason}")
    tell_unreadable(unreadable)
    return 0


def run_unsort(arguments: argparse.Namespace) -> int:
    """Bring sorted files back."""
    from cnn_classifier.sorting import unsort

    print(unsort(arguments.folder))
    return 0


def line_of(prediction: "Prediction") -> str:
    """`photo.jpg  cats 0.9312  dogs 0.0688`; `unknown` comes before the classes that it might be."""
    ranked = "  ".join(f"{name} {probability:.4f}" for name, probability in prediction.top)
    if prediction.label == prediction.top[0][0]:
        return f"{prediction.path}  {ranked}"
    familiarity = "" if prediction.familiarity is None else f"  familiarity {prediction.familiarity:.4f}"
    return f"{prediction.path}  {prediction.label}: {ranked}{familiarity}"


def answer_rows(predictions: Iterable["Prediction"], top: int) -> Iterator[list[str]]:
    """A header and one row an image; the likeliest classes follow in pairs of columns where more than one is asked for.

    The first pair is the answer; below the threshold its label is `unknown`, and `label_1` tells the likeliest class.
    """
    ranks = range(1, top + 1) if top > 1 else ()
    more = [column for rank in ranks for column in (f"label_{rank}", f"probability_{rank}")]
    yield ["path", "label", "probability", "familiarity", *more, "error"]
    for prediction in predictions:
        ranked = [value for name, share in prediction.top for value in (name, f"{share:.6f}")] if top > 1 else []
        ranked += [""] * (len(more) - len(ranked))
        told = ["" if value is None else f"{value:.6f}" for value in (prediction.probability, prediction.familiarity)]
        yield [str(prediction.path), prediction.label or "", *told, *ranked, prediction.error or ""]
