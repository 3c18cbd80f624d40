"""The words of every command but `train`, whose words are Hydra's; one file a command says what is done with them."""

import argparse
from typing import NoReturn

from cnn_classifier import __version__
from cnn_classifier.cli import compare, data, doctor, evaluate, export, lr_find, predict, serve
from cnn_classifier.errors import ConfigError

COMMANDS = (evaluate, compare, predict, export, serve, lr_find, data, doctor)


class OneLineParser(argparse.ArgumentParser):
    """argparse, but a wrong word is one line like every other error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {self.prog} --help shows what is expected")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands but `train`."""
    root_parser = OneLineParser(
        prog="cnn-classifier",
        description="From a folder of images to a trained, tested, reusable classifier.",
    )
    root_parser.add_argument("--version", action="version", version=f"cnn_classifier {__version__}")
    root_parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = root_parser.add_subparsers(required=True, metavar="COMMAND")
    subparsers.add_parser(
        "train", help="train and test a classifier; `train --help` lists the configuration", add_help=False
    )
    for module in COMMANDS:
        module.add_parser(subparsers)
    return root_parser
