"""The one command. `train` belongs to Hydra, the rest to argparse; every error is one line and an exit code.

Each command is imported once it is asked for: help and errors answer within a second.
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from cnn_classifier.errors import INTERNAL_EXIT_CODE, INTERRUPTED_EXIT_CODE, ClassifierError, print_error


def run(*argv: str) -> None:
    """The console entry point: `run("train")` is `cnn-classifier train` with the words of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # file names may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main([*argv, *sys.argv[1:]]))


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are one line on standard error.

    Args:
        argv: The words after the program's name.
    """
    debug = "--debug" in argv
    args = [word for word in argv if word != "--debug"]
    try:
        if args[:1] == ["train"]:
            return train(args[1:], debug=debug)
        from cnn_classifier.cli.parser import build_parser

        arguments = build_parser().parse_args(args)
        return arguments.command(arguments)
    except ClassifierError as error:
        if debug:
            raise
        return print_error(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        return print_error(f"interrupted{error}", INTERRUPTED_EXIT_CODE)
    except BrokenPipeError:  # `predict … | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the outermost guard: a bug is one line, too
        if debug:
            raise
        return print_error(f"{type(error).__name__}: {error} (this is a bug; --debug shows where)", INTERNAL_EXIT_CODE)


def train(argv: Sequence[str], *, debug: bool) -> int:
    """Run `train` with the words of Hydra's own command line, or tell what they are."""
    if "--help" in argv or "-h" in argv:
        from cnn_classifier.cli.train import format_train_help

        print(format_train_help(argv))
        return 0
    from cnn_classifier.cli.train import train_command
    from cnn_classifier.training.signals import sigterm_raises

    with sigterm_raises():
        return train_command(argv, debug=debug)
