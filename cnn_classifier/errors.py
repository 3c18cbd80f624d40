"""The exceptions that a user can cause, their exit codes, and helpers for one-line error messages."""

import os
import re
import shlex
import sys
from pathlib import Path

INTERNAL_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130
TERMINATED_EXIT_CODE = 143
# Maximum number of characters of a printed error, since a message may quote a value of any length.
MAX_MESSAGE_LENGTH = 2000


class ClassifierError(Exception):
    """The base class of all errors that a user can cause.

    The message is one sentence: what failed, for which value, what was expected and how to fix it.

    Attributes:
        exit_code: The exit code of a command that ends with this error.
    """

    exit_code = INTERNAL_EXIT_CODE


class ConfigError(ClassifierError):
    """A command-line argument or a configuration value is invalid."""

    exit_code = 2


class DataError(ClassifierError):
    """The images, their folders or their split cannot be used."""

    exit_code = 3


class CheckpointError(ClassifierError):
    """A checkpoint or bundle is missing, damaged, of an unknown format, or does not match the request."""

    exit_code = 4


class StorageError(ClassifierError):
    """A file or folder cannot be written."""

    exit_code = 5


class DivergedError(ClassifierError):
    """The loss is NaN or infinite."""

    exit_code = 6


class PrunedError(ClassifierError):
    """The hyperparameter search stopped this run because other runs do better; this is not a failure."""

    exit_code = 0


class UnreadableImageError(DataError):
    """One file or array cannot be decoded; the message is the reason, without the path."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra, from the checkout if the package runs from one."""
    checkout = Path(__file__).parents[1]
    if not (checkout / "pyproject.toml").exists():
        return f'pip install "cnn_classifier[{extra}]"'
    return f'pip install -e "{"." if checkout == Path.cwd() else checkout}[{extra}]"'


def print_error(message: str, exit_code: int) -> int:
    """Print an error as one line on standard error and return the exit code."""
    line = " ".join(message.split())
    print("error:", line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]} …", file=sys.stderr)
    return exit_code


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its class if the message is empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def single_line(error: BaseException) -> str:
    """Return an exception's whole message with every run of whitespace replaced by one space."""
    return " ".join(str(error).split())


def root_cause(error: BaseException) -> BaseException:
    """Return the exception at the end of the chain of `raise … from …`."""
    return error if error.__cause__ is None else root_cause(error.__cause__)


def quote_argument(argument: str) -> str:
    """Return an argument to paste into a shell; in double quotes, which all systems have, if they are sufficient."""
    if re.fullmatch(r"[\w./@%+=:,~-]+", argument):
        return argument
    return shlex.quote(argument) if os.name != "nt" and set(argument) & set('"$`\\!') else f'"{argument}"'
