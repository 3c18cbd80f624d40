"""The `predict` command: predictions as lines, CSV or JSON."""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.cli.arguments import add_model_arguments, add_threshold_argument, positive_int, print_unreadable
from cnn_classifier.errors import DataError
from cnn_classifier.files import write_csv
from cnn_classifier.training.environment import ignore_known_warnings

if TYPE_CHECKING:
    from cnn_classifier.inference.predictor import Prediction


def add_parser(subparsers: Any) -> None:
    """Add `predict` to the sub-parsers of argparse."""
    parser = subparsers.add_parser("predict", help="predict the classes of images")
    add_image_arguments(parser)
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write path, label, probability and top classes")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument(
        "--top-k", metavar="K", type=positive_int, default=1, help="number of most probable classes (default: 1)"
    )
    parser.set_defaults(command=run)


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `iter_predictions`: the model, the images and the options of the prediction."""
    add_model_arguments(parser)
    parser.add_argument("images", metavar="IMAGE|FOLDER|GLOB", nargs="+")
    add_threshold_argument(parser)
    parser.add_argument(
        "--tta-flip", action="store_true", help="average the predictions of each image and its mirror image"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print or write the prediction of every image; unreadable files are listed on standard error."""
    # A progress bar would interleave with the printed lines.
    print_lines = not (arguments.csv or arguments.json)
    predictions = []
    for prediction in iter_predictions(arguments, top_k=arguments.top_k, progress=not print_lines):
        predictions.append(prediction)
        if print_lines and not prediction.error:
            print(format_prediction(prediction))
    if arguments.csv:
        write_csv(arguments.csv, prediction_rows(predictions, arguments.top_k))
    if arguments.json:
        print(json.dumps([asdict(prediction) for prediction in predictions], indent=2, ensure_ascii=False))
    report_unreadable(predictions)
    return 0


def iter_predictions(arguments: argparse.Namespace, *, progress: bool, top_k: int = 1) -> Iterator["Prediction"]:
    """Load the model and return an iterator over the predictions for `arguments.images`.

    Args:
        arguments: The parsed arguments of `predict` or `sort`.
        progress: Whether to show a progress bar.
        top_k: The number of most probable classes per image.

    Raises:
        DataError: If a path does not exist.
        CheckpointError: If the model cannot be loaded.
    """
    from tqdm import tqdm

    from cnn_classifier.data.sources.listing import expand_image_paths
    from cnn_classifier.inference.predictor import Predictor

    ignore_known_warnings()
    paths = expand_image_paths(arguments.images)
    predictor = Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust_module)
    results = predictor.predict_iter(paths, top_k=top_k, threshold=arguments.threshold, flip=arguments.tta_flip)
    return iter(tqdm(results, "predicting", len(paths), disable=None if progress else True, leave=False))


def report_unreadable(predictions: Sequence["Prediction"]) -> None:
    """Print the unreadable files to standard error.

    Raises:
        DataError: If no file is a readable image.
    """
    unreadable = [(str(prediction.path), prediction.error) for prediction in predictions if prediction.error]
    if len(unreadable) == len(predictions):
        path, reason = unreadable[0]
        raise DataError(f"None of the {len(predictions)} files is a readable image. The first one is {path}: {reason}.")
    print_unreadable(unreadable)


def format_prediction(prediction: "Prediction") -> str:
    """Format a prediction as `photo.jpg  cats 0.9312  dogs 0.0688`; `unknown` precedes the most probable classes."""
    ranked = "  ".join(f"{name} {probability:.4f}" for name, probability in prediction.top_k)
    if prediction.label == prediction.top_k[0][0]:
        return f"{prediction.path}  {ranked}"
    similarity = "" if prediction.similarity is None else f"  similarity {prediction.similarity:.4f}"
    return f"{prediction.path}  {prediction.label}: {ranked}{similarity}"


def prediction_rows(predictions: Iterable["Prediction"], top_k: int) -> Iterator[list[str]]:
    """Yield the CSV header and one row per image.

    With `top_k` above 1, columns `label_1`, `probability_1`, ... contain the most probable classes. `label` is
    `unknown` for a rejected prediction, `label_1` is always the most probable class.

    Args:
        predictions: The predictions, each with `top_k` classes.
        top_k: The number of most probable classes per image.
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
