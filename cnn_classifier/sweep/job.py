"""Runs one training job and records how it ended in its status file."""

import os
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_classifier.config.compose import Config, check_config, to_container
from cnn_classifier.config.hydra_errors import COMPOSITION_ERRORS, translate_hydra_error
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import (
    INTERNAL_EXIT_CODE,
    INTERRUPTED_EXIT_CODE,
    TERMINATED_EXIT_CODE,
    ClassifierError,
    ConfigError,
    PrunedError,
    print_error,
)
from cnn_classifier.files import STATUS_FILE, remove_if_empty
from cnn_classifier.report.console import format_run_summary
from cnn_classifier.sweep.processes import LAUNCHED_BY_US, as_failed, run_distributed
from cnn_classifier.training.distributed import get_rank, resolve_processes
from cnn_classifier.training.status import (
    DONE,
    INTERRUPTED,
    PRUNED,
    Status,
    check_new_run_dir,
    is_locked,
    read_status,
    resume_hint,
)

if TYPE_CHECKING:
    from cnn_classifier.run import TrainResult


def run_job(
    config: Config, run_dir: Path, overrides: Sequence[str], *, debug: bool, start_time: float, keep_status: bool
) -> Status:
    """Run one training job and return its final status; errors are recorded in it, so that a sweep continues.

    Args:
        config: The composed configuration. `run_dir` is filled in.
        run_dir: The run directory.
        overrides: The command-line overrides of the job.
        debug: Whether to print tracebacks and to re-raise unexpected errors.
        start_time: The start of the job in seconds since the epoch.
        keep_status: Whether to write a status file even if the run failed before it started, as in a sweep.

    Raises:
        KeyboardInterrupt: On Ctrl-C.
        SystemExit: On SIGTERM.
    """
    config.run_dir = str(run_dir)
    status = Status(run_dir=run_dir, overrides=overrides)
    try:
        status = run_training(config, overrides, float(os.environ.get(LAUNCHED_BY_US, start_time)))
    except PrunedError as error:
        status = replace(status, state=PRUNED, exit_code=0, message=str(error))
    except ClassifierError as error:
        if debug:
            traceback.print_exc()
        status = as_failed(status, error.exit_code, str(error))
    except COMPOSITION_ERRORS as error:
        status = as_failed(status, ConfigError.exit_code, str(translate_hydra_error(error, overrides)))
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning converts Ctrl-C into SystemExit(1).
        is_ctrl_c = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
        exit_code = INTERRUPTED_EXIT_CODE if is_ctrl_c else TERMINATED_EXIT_CODE
        status = replace(status, state=INTERRUPTED, exit_code=exit_code)
        if not is_reported_by_parent():
            if is_ctrl_c:
                raise KeyboardInterrupt(resume_hint(config)) from None
            print_error(f"terminated{resume_hint(config)}", exit_code)
        raise SystemExit(exit_code) from None
    except Exception as error:  # an unexpected error in one job must not end the sweep
        if debug:
            raise
        message = f"Unexpected {type(error).__name__}: {error} (run again with --debug to see the traceback)"
        status = as_failed(status, INTERNAL_EXIT_CODE, message)
    finally:
        final_status = replace(status, run_dir=Path(config.run_dir))
        if keep_status or LAUNCHED_BY_US in os.environ or has_status_since(start_time, final_status.run_dir):
            write_final_status(final_status)
        remove_if_empty(run_dir)  # Hydra creates it even if the run did not start or resumed in another directory
    return status


def run_training(config: Config, overrides: Sequence[str], start_time: float) -> Status:
    """Check the config, scan the dataset, train once or on each fold, and print the test metrics."""
    check_config(config, overrides)
    if config.resume is None and not config.sweep.name and not get_rank():
        check_new_run_dir(Path(config.run_dir))  # also in `train`, but only after torch is imported

    from cnn_classifier.data.config import DatasetConfig
    from cnn_classifier.data.sources.resolve import scan_source

    index = scan_source(DatasetConfig(**to_container(config.dataset)))
    if config.dataset.get("fold") != "all":
        return train_once(config, index, overrides, start_time)

    from cnn_classifier.sweep.folds import train_folds

    return report_result(train_folds(config, index, overrides=overrides, start_time=start_time), overrides)


def train_once(config: Config, index: DatasetIndex, overrides: Sequence[str], start_time: float) -> Status:
    """Train in this process or in several, and print the test metrics."""
    num_processes = resolve_processes(config.trainer)
    if num_processes > 1:
        from cnn_classifier.training.resume import apply_resume

        apply_resume(config)  # sets `run_dir`, where the processes write their status
        return run_distributed(num_processes, config, overrides, start_time)

    from cnn_classifier.train import train
    from cnn_classifier.training.devices import explain_out_of_memory  # imported late: torch takes seconds to import

    with explain_out_of_memory(config), redirect_stdout(None) if get_rank() else nullcontext():
        result = train(config, index, overrides=overrides, start_time=start_time)
    if get_rank() or result.checkpoint is None:
        return Status(run_dir=result.run_dir, overrides=overrides, state=DONE, exit_code=0)
    return report_result(result, overrides)


def report_result(result: "TrainResult", overrides: Sequence[str]) -> Status:
    """Print the test metrics, and return them as a status."""
    assert result.checkpoint is not None
    print(format_run_summary(result.run_dir, result.checkpoint, result.report))
    report, epochs = result.report, len(result.report["epochs"])
    test = report["test"] or report.get("out_of_fold") or {}
    return Status(
        run_dir=result.run_dir,
        overrides=overrides,
        state=DONE,
        exit_code=0,
        epoch=epochs,
        max_epochs=epochs,
        val_accuracy=(report["val"] or {}).get("accuracy"),
        val_loss=(report["val"] or {}).get("loss"),
        test_accuracy=test.get("accuracy"),
        seconds=result.report["timing"]["total_seconds"],
    )


def is_reported_by_parent() -> bool:
    """Return whether another process of the same run reports how it ended."""
    return get_rank() > 0 or LAUNCHED_BY_US in os.environ


def has_status_since(start_time: float, run_dir: Path) -> bool:
    """Return whether a status was written since a time; otherwise the run did not start."""
    path = run_dir / STATUS_FILE
    return path.exists() and path.stat().st_mtime >= start_time


def write_final_status(status: Status) -> None:
    """Write the final status, unless another run holds the directory."""
    if get_rank():
        return
    previous_status = read_status(status.run_dir)
    if is_locked(status.run_dir):
        return
    if previous_status is not None and status.state != DONE:  # keep the progress of the unfinished run
        progress_fields = ("epoch", "max_epochs", "val_accuracy", "val_loss")
        status = replace(status, **{name: getattr(previous_status, name) for name in progress_fields})
    status.write()
