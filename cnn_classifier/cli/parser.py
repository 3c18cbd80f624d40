"""The argparse parser of all commands except `train`, whose command line is Hydra's."""

import argparse
import re
from difflib import get_close_matches
from typing import Any, NoReturn

from cnn_classifier import __version__
from cnn_classifier.cli import cache, compare, data, doctor, evaluate, export, lr_find, predict, serve, sort
from cnn_classifier.config.signature import did_you_mean
from cnn_classifier.errors import ConfigError

COMMANDS = (evaluate, compare, predict, sort, export, serve, lr_find, data, cache, doctor)


class OneLineParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `ConfigError` instead of printing the usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError` with the message and the command that shows the help."""
        if match := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            choices = re.findall(r"[\w-]+", match[2])
            message = f"{match[1]} does not exist{did_you_mean(match[1], choices)}"
        raise ConfigError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse arguments; the parser of a command reports unknown ones itself, since it knows the similar options."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            close = get_close_matches(unknown[0].partition("=")[0], self._option_string_actions, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return namespace, unknown


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; `train` appears in its help only."""
    root_parser = OneLineParser(
        prog="cnn-classifier",
        description="Train, evaluate, export and serve image classifiers.",
    )
    root_parser.add_argument("--version", action="version", version=f"cnn_classifier {__version__}")
    root_parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    root_parser.add_argument("--quiet", action="store_true", help="hide progress bars; `train` prints errors only")
    subparsers = root_parser.add_subparsers(required=True, metavar="COMMAND")
    subparsers.add_parser(
        "train", help="train and evaluate a classifier; `train --help` lists the configuration groups", add_help=False
    )
    for module in COMMANDS:
        module.add_parser(subparsers)
    return root_parser
