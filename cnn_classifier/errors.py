"""What can go wrong for a user: one line (what, which value, what was expected, how to fix it), one exit code."""

import sys

INTERNAL_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130
TERMINATED_EXIT_CODE = 143
MAX_MESSAGE_LENGTH = 2000  # characters of an error, so that a value of a megabyte does not fill the terminal


class ClassifierError(Exception):
    """Base of every error that a user can cause; `exit_code` is what the command returns."""

    exit_code = INTERNAL_EXIT_CODE


class ConfigError(ClassifierError):
    """A word of the command or a value of the configuration is wrong."""

    exit_code = 2


class DataError(ClassifierError):
    """The images, their folders or their split cannot be used."""

    exit_code = 3


class CheckpointError(ClassifierError):
    """A checkpoint is missing, damaged, not ours, or made for something else."""

    exit_code = 4


class StorageError(ClassifierError):
    """A folder cannot be written."""

    exit_code = 5


class DivergedError(ClassifierError):
    """The loss is no longer a number."""

    exit_code = 6


class PrunedError(ClassifierError):
    """A search has stopped this run, since others do better; nothing is wrong with it."""

    exit_code = 0


class UnreadableImageError(DataError):
    """One file or array is not an image that we can decode; the message is the reason alone."""


def print_error(message: str, exit_code: int) -> int:
    """Print one line on standard error, and pass the exit code on."""
    line = " ".join(message.split())
    print("error:", line if len(line) <= MAX_MESSAGE_LENGTH else f"{line[:MAX_MESSAGE_LENGTH]} …", file=sys.stderr)
    return exit_code
