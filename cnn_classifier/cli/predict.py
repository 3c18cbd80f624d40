"""`predict` and `unsort`: answers for images as lines, CSV or JSON, or as folders of them."""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.cli.arguments import add_model_arguments, fraction, positive_int, print_unreadable
from cnn_classifier.errors import DataError
from cnn_classifier.files import write_csv
from cnn_classifier.training.environment import ignore_known_warnings

if TYPE_CHECKING:
    from cnn_classifier.inference.predictor import Prediction


def add_parser(subparsers: Any) -> None:
    """Add `predict` and `unsort` to the command line; `commands` are argparse's sub-parsers."""
    parser = subparsers.add_parser("predict", help="say what is on images, or sort them into folders")
    add_model_arguments(parser)
    parser.add_argument("sources", metavar="IMAGE|FOLDER|GLOB", nargs="+")
    parser.add_argument("--csv", metavar="OUT", type=Path, help="write path, label, probability and top classes")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--top", metavar="K", type=positive_int, default=1, help="the K likeliest classes (default 1)")
    parser.add_argument(
        "--threshold",
        metavar="T",
        type=fraction,
        help="below this probability say `unknown` (default: the model's own)",
    )
    parser.add_argument("--flip", action="store_true", help="average each answer with that of the mirror image")
    parser.add_argument(
        "--sort-into",
        metavar="DIR",
        type=Path,
        help="a folder a class, uncertain/, unreadable/; nothing is replaced",
    )
    mode_group = parser.add_mutually_exclusive_group()
    for name, description in (("copy", "(default)"), ("link", "by symbolic links"), ("move", "the files themselves")):
        mode_group.add_argument(f"--{name}", dest="way", action="store_const", const=name, help=f"sort {description}")
    parser.set_defaults(command=run, way="copy")
    parser = subparsers.add_parser("unsort", help="undo what predict --sort-into did")
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder that was sorted into")
    parser.set_defaults(command=run_undo_sort)


def run(arguments: argparse.Namespace) -> int:
    """Answer for every image; unreadable ones go to standard error."""
    from tqdm import tqdm

    from cnn_classifier.data.sources.listing import expand_image_paths
    from cnn_classifier.inference.predictor import Predictor
    from cnn_classifier.inference.sort import Sorter

    ignore_known_warnings()
    paths = expand_image_paths(arguments.sources)
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust)
    sorter = Sorter(arguments.sort_into, arguments.way) if arguments.sort_into else None
    results = predictor.predict_iter(paths, top_k=arguments.top, threshold=arguments.threshold, flip=arguments.flip)
    # A bar between lines of answers would be in their way.
    print_lines = not (arguments.csv or arguments.json or sorter)
    predictions = []
    for prediction in tqdm(results, "predicting", len(paths), disable=True if print_lines else None, leave=False):
        predictions.append(prediction)
        if sorter is not None:
            sorter.add(prediction)
        if print_lines and not prediction.error:
            print(format_prediction(prediction))
    if arguments.csv:
        write_csv(arguments.csv, prediction_rows(predictions, arguments.top))
    if arguments.json:
        print(json.dumps([asdict(prediction) for prediction in predictions], indent=2, ensure_ascii=False))
    elif sorter is not None:
        print(sorter.summary())
    unreadable = [(str(prediction.path), prediction.error) for prediction in predictions if prediction.error]
    if len(unreadable) == len(predictions):
        path, reason = unreadable[0]
        raise DataError(f"none of the {len(predictions)} files is a readable image; the first is {path}: {reason}")
    print_unreadable(unreadable)
    return 0


def run_undo_sort(arguments: argparse.Namespace) -> int:
    """Bring sorted files back."""
    from cnn_classifier.inference.sort import undo_sort

    print(undo_sort(arguments.folder))
    return 0


def format_prediction(prediction: "Prediction") -> str:
    """`photo.jpg  cats 0.9312  dogs 0.0688`; `unknown` comes before the classes that it might be."""
    ranked = "  ".join(f"{name} {probability:.4f}" for name, probability in prediction.top_k)
    if prediction.label == prediction.top_k[0][0]:
        return f"{prediction.path}  {ranked}"
    similarity = "" if prediction.similarity is None else f"  similarity {prediction.similarity:.4f}"
    return f"{prediction.path}  {prediction.label}: {ranked}{similarity}"


def prediction_rows(predictions: Iterable["Prediction"], top_k: int) -> Iterator[list[str]]:
    """A header and one row an image; the likeliest classes follow in pairs of columns where more than one is asked for.

    The first pair is the answer; below the threshold its label is `unknown`, and `label_1` tells the likeliest class.
    """
    ranks = range(1, top_k + 1) if top_k > 1 else ()
    extra_columns = [column for rank in ranks for column in (f"label_{rank}", f"probability_{rank}")]
    yield ["path", "label", "probability", "similarity", *extra_columns, "error"]
    for prediction in predictions:
        ranked = (
            [value for name, probability in prediction.top_k for value in (name, f"{probability:.6f}")]
            if top_k > 1
            else []
        )
        ranked += [""] * (len(extra_columns) - len(ranked))
        scores = ["" if value is None else f"{value:.6f}" for value in (prediction.probability, prediction.similarity)]
        yield [str(prediction.path), prediction.label or "", *scores, *ranked, prediction.error or ""]
