"""Cross-validation in one command: a run of each fold, their pooled predictions, one report and one model."""

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_classifier.config.compose import Config, save_config, set_values, to_container
from cnn_classifier.config.saved import inherit_resolved_values, is_same_experiment, load_saved_config
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.data import AUTO
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.files import (
    BEST_CHECKPOINT,
    CONFIG_FILE,
    LAST_CHECKPOINT,
    REPORT_HTML,
    REPORT_JSON,
    STATUS_FILE,
    ensure_writable_dir,
)
from cnn_classifier.sweep.job import train_once
from cnn_classifier.sweep.pooling import FOLD_DIR, SHARED_KEYS, pool_folds, share_values
from cnn_classifier.training.distributed import get_world_size
from cnn_classifier.training.status import DONE, LOCK_FILE, Status, check_new_run_dir, read_status, run_lock

if TYPE_CHECKING:
    from cnn_classifier.run import TrainResult

REPORT_FRACTION, REPORT_SECONDS = 0.03, 8.0  # of the budget, for the pooled predictions and the report


def train_folds(
    config: Config, index: DatasetIndex, *, overrides: Sequence[str] = (), start_time: float
) -> "TrainResult":
    """Train a network on each fold, pool their predictions on the images they were not trained on, and average them.

    Each fold is a run in a subdirectory. The folds share the budget and all values that the first one resolves. If the
    run is resumed, finished folds are not repeated.

    Args:
        config: The composed configuration with `dataset.fold=all`.
        index: The scanned dataset.
        overrides: The command-line overrides.
        start_time: The start of the command in seconds since the epoch, from which the run is timed.

    Raises:
        ClassifierError: If the configuration, the data or a checkpoint is invalid, or a fold fails.
    """
    if get_world_size() > 1:
        raise ConfigError("dataset.fold=all starts the processes of each fold itself: run the command without torchrun")
    resume_folds(config)
    run_dir, folds = Path(config.run_dir), range(int(config.dataset.folds))
    with open_run(run_dir, overrides):
        save_config(config, run_dir / CONFIG_FILE)
        remaining = [fold for fold in folds if not is_finished(run_dir / FOLD_DIR.format(fold))]
        deadline = start_time + total_seconds(config, index) * len(remaining) / len(folds)
        for fold in folds:
            if fold not in remaining:
                print(f"fold {fold}: finished")
            else:
                print(f"\nfold {fold}: {FOLD_DIR.format(fold)}, {remaining.index(fold) + 1} of {len(remaining)}")
                seconds = (deadline - time.time()) / (len(remaining) - remaining.index(fold))
                fold_start = start_time if fold == remaining[0] else time.time()
                train_fold(config, index, fold, seconds, overrides, fold_start)
            if fold == 0:
                share_values(config, run_dir / FOLD_DIR.format(0))
                save_config(config, run_dir / CONFIG_FILE)
        return pool_folds(config, index, overrides, start_time)


def resume_folds(config: Config) -> None:
    """Set `run_dir` to the run that is to be continued, with the values that it has resolved, or check a new one.

    Raises:
        CheckpointError: If `resume` is not the directory of a cross-validation.
        ConfigError: If the new run directory holds something else, or a value differs that cannot change.
    """
    run_dir = Path(config.run_dir)
    if config.resume is None and not config.sweep.name:
        check_new_run_dir(run_dir)
        return
    if config.resume not in (None, "auto"):
        run_dir = Path(config.resume).expanduser()
        if not is_cross_validation(run_dir):
            raise CheckpointError(
                f"resume={run_dir} is not a run with dataset.fold=all: {CONFIG_FILE} or {FOLD_DIR.format(0)} is missing"
            )
    elif not is_cross_validation(run_dir):
        candidates = [path.parent.parent for path in run_dir.parent.glob(f"*/{FOLD_DIR.format(0)}/{CONFIG_FILE}")]
        unfinished = [path for path in candidates if is_cross_validation(path) and not (path / REPORT_JSON).exists()]
        same = [path for path in unfinished if is_same_experiment(config, path / CONFIG_FILE)]
        if config.sweep.name or not same:
            return
        run_dir = max(same, key=lambda path: path.stat().st_mtime)
    if is_cross_validation(run_dir):
        from cnn_classifier.training.resume import check_changed_keys

        config.run_dir = str(run_dir)
        inherit_resolved_values(config, run_dir / CONFIG_FILE)
        check_changed_keys(config, run_dir / CONFIG_FILE)


def is_cross_validation(run_dir: Path) -> bool:
    """Return whether a directory holds the configuration and the first fold of a cross-validation."""
    return (run_dir / CONFIG_FILE).is_file() and (run_dir / FOLD_DIR.format(0)).is_dir()


def is_finished(fold_dir: Path) -> bool:
    """Return whether the run of a fold is finished."""
    status = read_status(fold_dir)
    return status is not None and status.state == DONE and (fold_dir / BEST_CHECKPOINT).is_file()


@contextmanager
def open_run(run_dir: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Lock the run directory and write that it is running; leave nothing behind if no fold starts."""
    try:
        with run_lock(ensure_writable_dir(run_dir)):
            for name in (REPORT_JSON, REPORT_HTML):  # of the run that is continued
                (run_dir / name).unlink(missing_ok=True)
            Status(run_dir=run_dir, overrides=list(overrides)).write()
            yield
    finally:
        if not any(run_dir.glob(FOLD_DIR.format("*"))):
            for name in (CONFIG_FILE, STATUS_FILE, LOCK_FILE):
                (run_dir / name).unlink(missing_ok=True)


def total_seconds(config: Config, index: DatasetIndex) -> float:
    """Return the seconds for the training of all folds."""
    from cnn_classifier.auto.dataset_stats import estimate_train_size

    num_images = estimate_train_size(to_container(config), index)
    return (1 - REPORT_FRACTION) * parse_duration(config.budget, num_images) - REPORT_SECONDS


def train_fold(
    config: Config, index: DatasetIndex, fold: int, seconds: float, overrides: Sequence[str], start_time: float
) -> None:
    """Run the training of one fold, or continue it from its last checkpoint.

    Args:
        config: The configuration of the cross-validation.
        index: The scanned dataset.
        fold: The number of the fold.
        seconds: The budget of the fold.
        overrides: The command-line overrides.
        start_time: The start of the fold in seconds since the epoch.
    """
    fold_config, fold_dir = copy.deepcopy(config), Path(config.run_dir) / FOLD_DIR.format(fold)
    values = {f"dataset.{key}": to_container(config.dataset.get(key)) for key in SHARED_KEYS}
    values = {"dataset.fold": fold} | {key: value for key, value in values.items() if value not in (None, AUTO)}
    resumed = (fold_dir / LAST_CHECKPOINT).is_file()
    if config.trainer.max_epochs is None:
        values["budget"] = load_saved_config(fold_dir / CONFIG_FILE)["budget"] if resumed else f"{max(seconds, 1):.0f}s"
    run_values = {"run_dir": str(fold_dir), "resume": str(fold_dir) if resumed else None, "sweep.name": None}
    set_values(fold_config, values | run_values)
    kept = [override for override in overrides if override.partition("=")[0].lstrip("+") not in values]
    added = [f"{key}={str(value).replace(' ', '')}" for key, value in values.items()]
    train_once(fold_config, index, [*kept, *added], start_time).write()


def train(
    config: Config,
    index: DatasetIndex | None = None,
    *,
    overrides: Sequence[str] = (),
    start_time: float | None = None,
) -> "TrainResult":
    """Train the configured model, or one on each fold with `dataset.fold=all`; see `cnn_classifier.train.train`."""
    from cnn_classifier.train import train as train_single

    if config.dataset.get("fold") != "all":
        return train_single(config, index, overrides=overrides, start_time=start_time)
    from cnn_classifier.data.config import DatasetConfig
    from cnn_classifier.data.sources.resolve import scan_source

    index = index or scan_source(DatasetConfig(**to_container(config.dataset)))
    return train_folds(config, index, overrides=overrides, start_time=start_time or time.time())
