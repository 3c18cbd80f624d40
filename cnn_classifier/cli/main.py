"""The `cnn-classifier` entry point: dispatch to a command, one line per error, exit codes.

The modules of a command are imported when it runs, so that help and usage errors do not wait for torch.
"""

import atexit
import gc
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from cnn_classifier.cli.streams import READER_ERRORS, OutputClosedError, robust_streams
from cnn_classifier.errors import INTERNAL_EXIT_CODE, INTERRUPTED_EXIT_CODE, ClassifierError, StorageError, print_error


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; an error is printed as one line on standard error.

    Args:
        argv: The arguments without the program name, by default those of this process.

    Returns:
        The exit code; see `errors`.

    Raises:
        Exception: With `--debug`, the error itself.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    start_time = time.time() if argv is not None else process_start_time()
    if argv is None:
        atexit.register(leave_quickly)  # registered first, so that it runs last
    with robust_streams(stops=args[:1] == ["predict"]) as files:
        exit_code = run_and_print_error(args, start_time)
        lost = [file.error for file in files if file.error and file.error.errno not in READER_ERRORS]
        if not lost:
            return exit_code
        message = f"The printed output is incomplete: {lost[0].strerror}. Free space there, or print to another place."
        # The results of a training are in its run directory.
        return print_error(message, exit_code or (0 if args[0] == "train" else StorageError.exit_code))


def process_start_time() -> float:
    """Return when this process started, in seconds since the epoch; now, if the system does not tell.

    Python and the imports have taken seconds before the first line of a command runs.
    """
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        # Field 22, of which the first two precede the name in brackets: the start in clock ticks since boot (proc(5)).
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):  # not Linux
        return time.time()
    return time.time() - max(0.0, age)


def leave_quickly() -> None:
    """Skip the collection of all objects when the process ends, which takes seconds after an import of torch."""
    gc.disable()
    gc.freeze()
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # nanobind reports the objects that are left


def run_and_print_error(args: Sequence[str], start_time: float) -> int:
    """Run a command that started at a time, and return its exit code; an error is printed, or raised with `--debug`."""
    debug = "--debug" in args
    try:
        with quiet_output(args):
            command_args = [arg for arg in args if arg not in ("--debug", "--quiet")]
            exit_code = run_command(command_args, start_time, debug=debug)
        sys.stdout.flush()
        return exit_code
    except KeyboardInterrupt as error:
        return print_error(f"interrupted{error}", INTERRUPTED_EXIT_CODE)
    except OutputClosedError:  # the reader of a pipe, such as `head`, has what it wanted
        return 0
    except Exception as error:  # the last resort: every error is printed as one line
        if debug:
            raise
        if isinstance(error, ClassifierError):
            return print_error(str(error), error.exit_code)
        message = f"{type(error).__name__}: {error} (this is a bug; --debug prints the traceback)"
        return print_error(message, INTERNAL_EXIT_CODE)


@contextmanager
def quiet_output(args: Sequence[str]) -> Iterator[None]:
    """With `--quiet`, hide progress bars and what `train` prints to standard output; errors are still printed."""
    if "--quiet" not in args:
        yield
        return
    from cnn_classifier.progress import QUIET_VARIABLE

    os.environ[QUIET_VARIABLE] = "1"
    try:
        if args[0] != "train":  # the output of the other commands is their result
            yield
            return
        with Path(os.devnull).open("w", encoding="utf-8") as null, redirect_stdout(null):
            yield
    finally:
        del os.environ[QUIET_VARIABLE]


def run_command(args: Sequence[str], start_time: float, *, debug: bool) -> int:
    """Run a command with its arguments and return its exit code; `start_time` is in seconds since the epoch."""
    if args[:1] == ["train"]:
        return run_train(args[1:], start_time, debug=debug)
    from cnn_classifier.cli.parser import build_parser

    arguments = build_parser().parse_args(args)
    arguments.start_time = start_time
    return arguments.command(arguments)


def run_train(args: Sequence[str], start_time: float, *, debug: bool) -> int:
    """Run `train`, whose command line is parsed by Hydra, or print its help."""
    from cnn_classifier.cli.train import format_train_help, train_command

    if "--help" in args or "-h" in args:
        print(format_train_help(args))
        return 0
    from cnn_classifier.training.signals import sigterm_raises

    with sigterm_raises():
        return train_command(args, start_time, debug=debug)
