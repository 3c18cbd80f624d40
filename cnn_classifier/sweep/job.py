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

from cnn_classifier.config.compose import Config, check_config, quote_override, to_container
from cnn_classifier.config.hydra_errors import COMPOSITION_ERRORS, translate_hydra_error
from cnn_classifier.errors import (
    INTERNAL_EXIT_CODE,
    INTERRUPTED_EXIT_CODE,
    TERMINATED_EXIT_CODE,
    ClassifierError,
    ConfigError,
    PrunedError,
    print_error,
)
from cnn_classifier.training.distributed import (
    LAUNCHED_BY_US,
    get_rank,
    is_torchrun,
    launch_processes,
    num_processes,
    torchrun_devices,
)
from cnn_classifier.training.status import (
    DONE,
    FAILED,
    INTERRUPTED,
    KILLED,
    PRUNED,
    RUNNING,
    STATUS_FILE,
    Status,
    is_locked,
    read_status,
)


def run_job(
    config: Config, run_dir: Path, overrides: Sequence[str], *, debug: bool, keep_status: bool = False
) -> Status:
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
    status = Status(run_dir=run_dir, overrides=overrides)
    try:
        status = run_training(config, overrides)
    except PrunedError as error:
        status = replace(status, state=PRUNED, exit_code=0, message=str(error))
    except ClassifierError as error:
        if debug:
            traceback.print_exc()
        status = as_failed(status, error.exit_code, str(error))
    except COMPOSITION_ERRORS as error:
        status = as_failed(status, ConfigError.exit_code, str(translate_hydra_error(error, overrides)))
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning turns Ctrl-C into an exit with 1.
        by_keyboard = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
        exit_code = INTERRUPTED_EXIT_CODE if by_keyboard else TERMINATED_EXIT_CODE
        status = replace(status, state=INTERRUPTED, exit_code=exit_code)
        if is_reported_by_parent():
            raise SystemExit(exit_code) from None
        if by_keyboard:
            raise KeyboardInterrupt(resume_hint(config)) from None
        print_error(f"terminated{resume_hint(config)}", exit_code)
        raise SystemExit(exit_code) from None
    except Exception as error:  # whatever ends one run of a sweep must not end the others
        if debug:
            raise
        message = f"{type(error).__name__}: {error} (this is a bug, or a library's refusal; --debug shows where)"
        status = as_failed(status, INTERNAL_EXIT_CODE, message)
    finally:
        write_final_status(
            replace(status, run_dir=Path(config.run_dir)), keep_status=keep_status or LAUNCHED_BY_US in os.environ
        )
        remove_if_empty(run_dir)  # Hydra makes the folder of a run that never began, or that resumed elsewhere
    return status


def run_training(config: Config, overrides: Sequence[str]) -> Status:
    """Check, scan, train and tell the numbers that matter."""
    check_config(config, overrides)

    from cnn_classifier.data.config import DatasetConfig
    from cnn_classifier.data.sources.resolve import scan_source

    scan = scan_source(DatasetConfig(**to_container(config.dataset)))
    trainer_config = to_container(config.trainer)
    if is_torchrun():
        config.trainer.update(torchrun_devices(trainer_config))
    elif (processes := num_processes(trainer_config)) > 1:
        return run_distributed(processes, config, overrides)

    from cnn_classifier.train import train
    from cnn_classifier.training.devices import explain_out_of_memory  # only now: torch takes seconds to import

    with explain_out_of_memory(config), redirect_stdout(None) if get_rank() else nullcontext():
        result = train(config, scan, overrides=overrides)
    if get_rank():
        return Status(run_dir=result.run_dir, overrides=overrides, state=DONE, exit_code=0)
    print(format_summary(result.run_dir, result.checkpoint, result.report))
    val, epochs = result.report["val"], len(result.report["epochs"])
    return Status(
        run_dir=result.run_dir,
        overrides=overrides,
        state=DONE,
        exit_code=0,
        epoch=epochs,
        max_epochs=epochs,
        val_accuracy=val["accuracy"],
        val_loss=val["loss"],
        test_accuracy=result.report["test"]["accuracy"],
        seconds=result.report["timing"]["total_seconds"],
    )


def run_distributed(process_count: int, config: Config, overrides: Sequence[str]) -> Status:
    """A training in several processes, and how it ended."""
    run_dir = Path(config.run_dir)
    run_overrides = {"run_dir": run_dir, "resume": config.resume, "sweep.name": config.sweep.name}
    previous_status = read_status(run_dir)
    launch_processes(
        process_count,
        [*overrides, *(f"{key}={quote_override(value)}" for key, value in run_overrides.items() if value)],
    )
    status = read_status(run_dir)
    if not (run_dir / "config.yaml").exists():  # it never began
        (run_dir / STATUS_FILE).unlink(missing_ok=True)
    if status is None or status == previous_status or status.state in (RUNNING, KILLED):
        last_status = status or Status(run_dir=run_dir, overrides=overrides)
        return as_failed(last_status, INTERNAL_EXIT_CODE, "one of its processes ended without a word, see above")
    if status.state == INTERRUPTED:
        raise SystemExit(status.exit_code) if status.exit_code == TERMINATED_EXIT_CODE else KeyboardInterrupt
    return status


def is_reported_by_parent() -> bool:
    """Whether another process of the same training says how it ended."""
    return get_rank() > 0 or LAUNCHED_BY_US in os.environ


def as_failed(status: Status, exit_code: int, message: str) -> Status:
    return replace(status, state=FAILED, exit_code=exit_code, message=" ".join(message.split()))


def write_final_status(status: Status, *, keep_status: bool) -> None:
    """Write how a run ended, if it ever began; what another run says that holds the folder is left alone."""
    if get_rank():
        return
    previous_status = read_status(status.run_dir)
    if is_locked(status.run_dir) or not (keep_status or previous_status):
        return
    if previous_status is not None and status.state != DONE:  # how far it came
        progress_fields = ("epoch", "max_epochs", "val_accuracy", "val_loss")
        status = replace(status, **{name: getattr(previous_status, name) for name in progress_fields})
    status.write()


def resume_hint(config: Config) -> str:
    """What to say of a run that was stopped, if it has saved anything, or is one of a sweep."""
    if config.sweep.name:
        return f"; what is done stays, go on with the same words and sweep.resume={display_path(Path(config.run_dir).parent)}"
    last_checkpoint = Path(
        config.run_dir, "checkpoints", "last.ckpt"
    )  # checkpoint.LAST, which is not to be had without torch
    return (
        f"; what it has learnt is kept, go on with resume={display_path(Path(config.run_dir))}"
        if last_checkpoint.is_file()
        else ""
    )


def format_summary(run_dir: Path, checkpoint: Path, report: dict[str, Any]) -> str:
    """The numbers that matter, and where everything lies."""
    test, seconds = report["test"], report["timing"]["total_seconds"]
    folder, checkpoint_path = display_path(run_dir), display_path(checkpoint)
    script = Path(sys.executable).with_name("cnn-classifier")  # where no environment is activated
    command = "cnn-classifier" if shutil.which("cnn-classifier") else display_path(script)
    return (
        f"\ntest accuracy {test['accuracy']:.4f}  F1 (macro) {test['f1_macro']:.4f}  loss {test['loss']:.4f}"
        f"  in {seconds:.0f} s\n"
        f"  report      {folder / 'report.html'}, numbers in {folder / 'report.json'}\n"
        f"  checkpoint  {checkpoint_path}\n"
        f"  use it      {command} predict {checkpoint_path} IMAGE|FOLDER"
    )


def display_path(path: Path) -> Path:
    """A path as one would type it here."""
    absolute_path = path.absolute()
    return absolute_path.relative_to(Path.cwd()) if absolute_path.is_relative_to(Path.cwd()) else path


def remove_if_empty(folder: Path) -> None:
    """Remove a folder and the folders above it, up to the current one, as long as they are empty."""
    cwd = Path.cwd()
    for candidate in (folder, *folder.parents):
        if candidate == cwd or candidate in cwd.parents or (candidate != folder and cwd not in candidate.parents):
            return
        try:
            candidate.rmdir()
        except OSError:
            return
