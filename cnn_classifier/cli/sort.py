"""The `sort` command: image files are sorted into one folder per predicted class."""

import argparse
from pathlib import Path
from typing import Any

from cnn_classifier.cli.predict import add_image_arguments, iter_predictions, load_inputs, report_unreadable
from cnn_classifier.errors import ConfigError

MODES = {"copy": "copy the files (default)", "link": "create symbolic links", "move": "move the files"}


def add_parser(subparsers: Any) -> None:
    """Add `sort` to the sub-parsers of argparse."""
    parser = subparsers.add_parser(
        "sort",
        help="sort images into one folder per class, or undo it",
        usage="%(prog)s MODEL IMAGE|FOLDER|GLOB ... --into DIR [--copy | --link | --move] [options]\n"
        "       %(prog)s --undo DIR",
    )
    add_image_arguments(parser)
    target_group = parser.add_mutually_exclusive_group(required=True)
    target_group.add_argument(
        "--into",
        metavar="DIR",
        type=Path,
        help="the directory of the class folders, _rejected/ and _unreadable/; existing files are never overwritten",
    )
    target_group.add_argument(
        "--undo", metavar="DIR", type=Path, action=UndoAction, help="undo everything that was sorted into DIR"
    )
    mode_group = parser.add_mutually_exclusive_group()
    for mode, description in MODES.items():
        mode_group.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, help=description)
    parser.set_defaults(command=run, mode="copy")


class UndoAction(argparse.Action):
    """An action that stores the directory and makes the positional arguments optional."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Store the directory; called by argparse when the option is parsed."""
        setattr(namespace, self.dest, values)
        for action in parser._get_positional_actions():
            action.required = False


def run(arguments: argparse.Namespace) -> int:
    """Sort every image, or undo an earlier run."""
    from cnn_classifier.inference.sort import Sorter, undo_sort

    if arguments.undo:
        if arguments.model:
            raise ConfigError(f"sort --undo {arguments.undo} accepts no other arguments, got {arguments.model}.")
        print(undo_sort(arguments.undo))
        return 0
    predictor, paths = load_inputs(arguments)
    sorter = Sorter(arguments.into, arguments.mode, predictor.class_names)
    predictions = []
    for prediction in iter_predictions(arguments, predictor, paths, progress=True):
        predictions.append(prediction)
        sorter.add(prediction)
    print(sorter.summary())
    report_unreadable(predictions)
    return 0
