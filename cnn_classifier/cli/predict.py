"""The `predict` command: predictions as lines, CSV or JSON."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.cli.arguments import add_model_arguments, add_threshold_argument, positive_int, print_unreadable
from cnn_classifier.data.sources.class_names import abbreviate, pluralize
from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.files import ensure_writable_dir, write_csv
from cnn_classifier.training.environment import ignore_known_warnings

if TYPE_CHECKING:
    from cnn_classifier.inference.prediction import Prediction
    from cnn_classifier.inference.predictor import Predictor


def add_parser(subparsers: Any) -> None:
    """Add `predict` to the sub-parsers of argparse."""
    parser = subparsers.add_parser("predict", help="predict the classes of images")
    add_image_arguments(parser)
    parser.add_argument(
        "--csv", metavar="FILE", type=Path, help="write one row per image: label, probability, rejection"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument(
        "--top-k", metavar="K", type=positive_int, default=1, help="number of most probable classes (default: 1)"
    )
    parser.set_defaults(command=run)


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `load_inputs` and `iter_predictions`: the model, the images and the options."""
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
    predictor, paths = load_inputs(arguments)
    if arguments.csv:
        check_csv_path(arguments.csv)
    predictions = []
    for prediction in iter_predictions(arguments, predictor, paths, progress=not print_lines):
        predictions.append(prediction)
        if print_lines and not prediction.error:
            print(format_prediction(prediction))
    if arguments.csv:
        write_csv(arguments.csv, prediction_rows(predictions, arguments.top_k))
        print(f"wrote {arguments.csv}: {summarize(predictions)}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([asdict(prediction) for prediction in predictions], indent=2, ensure_ascii=False))
    report_unreadable(predictions)
    return 0


def check_csv_path(path: Path) -> None:
    """Raise `StorageError` if a CSV file cannot be written, before any image is predicted."""
    if path.is_dir():
        raise StorageError(f"--csv {path} is a folder. Expected a file such as {path / 'predictions.csv'}.")
    ensure_writable_dir(path.parent)


def load_inputs(arguments: argparse.Namespace) -> tuple["Predictor", list[Path]]:
    """Return the model and the paths of the images that the parsed arguments of `predict` or `sort` name.

    Raises:
        DataError: If a path does not exist.
        CheckpointError: If the model cannot be loaded.
    """
    from cnn_classifier.data.sources.listing import expand_image_paths
    from cnn_classifier.inference.predictor import Predictor

    ignore_known_warnings()
    paths = expand_image_paths(arguments.images)
    return Predictor.load(arguments.model, device=arguments.device, trusted=arguments.trust_module), paths


def iter_predictions(
    arguments: argparse.Namespace, predictor: "Predictor", paths: Sequence[Path], *, progress: bool
) -> Iterator["Prediction"]:
    """Return an iterator over the predictions.

    Args:
        arguments: The parsed arguments of `predict` or `sort`.
        predictor: The model.
        paths: The images.
        progress: Whether to show a progress bar.
    """
    from cnn_classifier.progress import progress_bar

    top_k = getattr(arguments, "top_k", 1)
    results = predictor.predict_iter(paths, top_k=top_k, threshold=arguments.threshold, flip=arguments.tta_flip)
    return iter(progress_bar(results, "predicting", len(paths)) if progress else results)


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


def summarize(predictions: Sequence["Prediction"]) -> str:
    """Return the number of images, of rejected and unreadable ones, and of the accepted ones of each class."""
    readable = [prediction for prediction in predictions if not prediction.error]
    reasons = Counter(prediction.rejection_reason for prediction in readable if prediction.rejected)
    labels = Counter(prediction.label for prediction in readable if not prediction.rejected)
    details = f" ({format_counts(reasons)})" if reasons else ""
    parts = [pluralize(len(predictions), "image"), f"{reasons.total():,} rejected{details}"]
    if len(readable) < len(predictions):
        parts.append(f"{len(predictions) - len(readable):,} unreadable")
    return ", ".join(parts) + (f"; accepted: {format_counts(labels)}" if labels else "")


def format_counts(counts: Mapping[Any, int]) -> str:
    """Return names with their counts, in alphabetical order and abbreviated."""
    return abbreviate([f"{name} {count:,}" for name, count in sorted(counts.items(), key=str)])


def format_prediction(prediction: "Prediction") -> str:
    """Format a prediction as `photo.jpg  cats 0.4112  dogs 0.0688  rejected: low_confidence`."""
    ranked = (f"{name} {probability:.4f}" for name, probability in prediction.top_k)
    rejection = [f"rejected: {prediction.rejection_reason}"] if prediction.rejected else []
    return "  ".join([str(prediction.path), *ranked, *rejection])


def prediction_rows(predictions: Iterable["Prediction"], top_k: int) -> Iterator[list[str]]:
    """Yield the CSV header and one row per image.

    `label` is the most probable class, also of a rejected prediction. With `top_k` above 1, columns `label_1`,
    `probability_1`, ... contain the most probable classes.

    Args:
        predictions: The predictions, each with `top_k` classes.
        top_k: The number of most probable classes per image.
    """
    ranks = range(1, top_k + 1) if top_k > 1 else ()
    extra_columns = [column for rank in ranks for column in (f"label_{rank}", f"probability_{rank}")]
    yield ["path", "label", "probability", "rejected", "rejection_reason", "similarity", *extra_columns, "error"]
    for prediction in predictions:
        ranked = (
            [value for name, probability in prediction.top_k for value in (name, f"{probability:.6f}")]
            if top_k > 1
            else []
        )
        ranked += [""] * (len(extra_columns) - len(ranked))
        probability, similarity = (
            "" if value is None else f"{value:.6f}" for value in (prediction.probability, prediction.similarity)
        )
        rejected = "" if prediction.error else str(prediction.rejected).lower()
        rejection = [rejected, prediction.rejection_reason or ""]
        path, label, error = str(prediction.path), prediction.label or "", prediction.error or ""
        yield [path, label, probability, *rejection, similarity, *ranked, error]
