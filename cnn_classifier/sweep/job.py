"""One training from checks to report, with an end that is written down whatever it is."""

import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnn_classifier.config import COMPOSITION_ERRORS, Config, check, explain, plain, quoted
from cnn_classifier.errors import (
    INTERNAL_EXIT_CODE,
    INTERRUPTED_EXIT_CODE,
    TERMINATED_EXIT_CODE,
    ClassifierError,
    ConfigError,
    PrunedError,
    complain,
)
from cnn_classifier.ranks import STARTED, devices_of, is_among_ranks, processes_for, rank, start_ranks
from cnn_classifier.status import (
    DONE,
    FAILED,
    INTERRUPTED,
    KILLED,
    PRUNED,
    RUNNING,
    STATUS,
    Status,
    is_claimed,
    read_status,
)


def run_job(config: Config, run_dir: Path, words: Sequence[str], *, debug: bool, keep: bool = False) -> Status:
    """Train as configured; a failure becomes part of the status, so that a sweep goes on.

    Args:
        config: Of this run; its folder may still be open.
        run_dir: The folder.
        words: What the command changed.
        debug: Whether errors show where they come from; those that are no user's end a sweep.
        keep: Whether a run that never began leaves its status, too: it is one of a sweep.

    Raises:
        KeyboardInterrupt: On Ctrl-C.
        SystemExit: On SIGTERM.
    """
    config.run_dir = str(run_dir)
    ended = Status(run_dir=run_dir, words=words)
    try:
        ended = trained(config, words)
    except PrunedError as error:
        ended = replace(ended, state=PRUNED, exit_code=0, message=str(error))
    except ClassifierError as error:
        if debug:
            traceback.print_exc()
        ended = failed(ended, error.exit_code, str(error))
    except COMPOSITION_ERRORS as error:
        ended = failed(ended, ConfigError.exit_code, str(explain(error, words)))
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning turns Ctrl-C into an exit with 1.
        by_hand = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
        code = INTERRUPTED_EXIT_CODE if by_hand else TERMINATED_EXIT_CODE
        ended = replace(ended, state=INTERRUPTED, exit_code=code)
        if is_told_elsewhere():
            raise SystemExit(code) from None
        if by_hand:
            raise KeyboardInterrupt(how_to_go_on(config)) from None
        complain(f"terminated{how_to_go_on(config)}", code)
        raise SystemExit(code) from None
    except Exception as error:  # whatever ends one run of a sweep must not end the others
        if debug:
            raise
        told = f"{type(error).__name__}: {error} (this is a bug, or a library's refusal; --debug shows where)"
        ended = failed(ended, INTERNAL_EXIT_CODE, told)
    finally:
        write_end(replace(ended, run_dir=Path(config.run_dir)), keep=keep or STARTED in os.environ)
        remove_if_empty(run_dir)  # Hydra makes the folder of a run that never began, or that resumed elsewhere
    return ended


def trained(config: Config, words: Sequence[str]) -> Status:
    """Check, scan, train and tell the numbers that matter."""
    check(config, words)

    from cnn_classifier.data.options import DatasetOptions
    from cnn_classifier.data.source import scan_source

    scan = scan_source(DatasetOptions(**plain(config.dataset)))
    settings = plain(config.trainer)
    if is_among_ranks():
        config.trainer.update(devices_of(settings))
    elif (processes := processes_for(settings)) > 1:
        return trained_in(processes, config, words)

    from cnn_classifier.memory import enough_memory  # only now: torch takes seconds to import
    from cnn_classifier.train import train

    with enough_memory(config), redirect_stdout(None) if rank() else nullcontext():
        result = train(config, scan, words=words)
    if rank():
        return Status(run_dir=result.run_dir, words=words, state=DONE, exit_code=0)
    print(headline(result.run_dir, result.checkpoint, result.report))
    val, epochs = result.report["val"], len(result.report["epochs"])
    return Status(
        run_dir=result.run_dir,
        words=words,
        state=DONE,
        exit_code=0,
        epoch=epochs,
        max_epochs=epochs,
        val_accuracy=val["accuracy"],
        val_loss=val["loss"],
        test_accuracy=result.report["test"]["accuracy"],
        seconds=result.report["timing"]["total_seconds"],
    )


def trained_in(processes: int, config: Config, words: Sequence[str]) -> Status:
    """A training in several processes, and how it ended."""
    run_dir = Path(config.run_dir)
    its_own = {"run_dir": run_dir, "resume": config.resume, "sweep.name": config.sweep.name}
    before = read_status(run_dir)
    start_ranks(processes, [*words, *(f"{key}={quoted(value)}" for key, value in its_own.items() if value)])
    status = read_status(run_dir)
    if not (run_dir / "config.yaml").exists():  # it never began
        (run_dir / STATUS).unlink(missing_ok=True)
    if status is None or status == before or status.state in (RUNNING, KILLED):
        lost = status or Status(run_dir=run_dir, words=words)
        return failed(lost, INTERNAL_EXIT_CODE, "one of its processes ended without a word, see above")
    if status.state == INTERRUPTED:
        raise SystemExit(status.exit_code) if status.exit_code == TERMINATED_EXIT_CODE else KeyboardInterrupt
    return status


def is_told_elsewhere() -> bool:
    """Whether another process of the same training says how it ended."""
    return rank() > 0 or STARTED in os.environ


def failed(status: Status, exit_code: int, message: str) -> Status:
    return replace(status, state=FAILED, exit_code=exit_code, message=" ".join(message.split()))


def write_end(status: Status, *, keep: bool) -> None:
    """Write how a run ended, if it ever began; what another run says that holds the folder is left alone."""
    if rank():
        return
    began = read_status(status.run_dir)
    if is_claimed(status.run_dir) or not (keep or began):
        return
    if began is not None and status.state != DONE:  # how far it came
        far = ("epoch", "max_epochs", "val_accuracy", "val_loss")
        status = replace(status, **{name: getattr(began, name) for name in far})
    status.write()


def how_to_go_on(config: Config) -> str:
    """What to say of a run that was stopped, if it has saved anything, or is one of a sweep."""
    if config.sweep.name:
        return f"; what is done stays, go on with the same words and sweep.resume={shown(Path(config.run_dir).parent)}"
    saved = Path(config.run_dir, "checkpoints", "last.ckpt")  # checkpoint.LAST, which is not to be had without torch
    return f"; what it has learnt is kept, go on with resume={shown(Path(config.run_dir))}" if saved.is_file() else ""


def headline(run_dir: Path, checkpoint: Path, report: dict[str, Any]) -> str:
    """The numbers that matter, and where everything lies."""
    test, seconds = report["test"], report["timing"]["total_seconds"]
    folder, best = shown(run_dir), shown(checkpoint)
    beside_python = Path(sys.executable).with_name("cnn-classifier")  # where no environment is activated
    command = "cnn-classifier" if shutil.which("cnn-classifier") else shown(beside_python)
    return (
        f"\ntest accuracy {test['accuracy']:.4f}  F1 (macro) {test['f1_macro']:.4f}  loss {test['loss']:.4f}"
        f"  in {seconds:.0f} s\n"
        f"  report      {folder / 'report.html'}, numbers in {folder / 'report.json'}\n"
        f"  checkpoint  {best}\n"
        f"  use it      {command} predict {best} IMAGE|FOLDER"
    )


def shown(path: Path) -> Path:
    """A path as one would type it here."""
    whole = path.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else path


def remove_if_empty(folder: Path) -> None:
    """Remove a folder and the folders above it, up to the current one, as long as they are empty."""
    here = Path.cwd()
    for candidate in (folder, *folder.parents):
        if candidate == here or candidate in here.parents or (candidate != folder and here not in candidate.parents):
            return
        try:
            candidate.rmdir()
        except OSError:
            return
