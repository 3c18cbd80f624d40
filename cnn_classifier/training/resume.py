"""Where a training begins: at a checkpoint of an earlier one, or with weights learnt elsewhere, or from nothing."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnn_classifier.config.compose import (
    Config,
    flatten,
    inherit_resolved_values,
    is_same_experiment,
    load_saved_config,
    to_redacted_dict,
)
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.split import Splits
from cnn_classifier.data.splits.split_csv import build_split_rows, read_split_rows
from cnn_classifier.errors import CheckpointError, ConfigError, DataError
from cnn_classifier.files import BEST_CHECKPOINT, LAST_CHECKPOINT
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.training.checkpoints import check_checkpoint_exists, find_run_dir, read_checkpoint
from cnn_classifier.training.module import ImageClassifier

# What may be otherwise when a run goes on: it changes neither what was learnt nor from what.
CHANGEABLE_KEYS = ("callbacks.", "dataset.cache", "dataset.root", "test_time_flip", "logger.", "trainer.")
IGNORED_KEYS = ("resume", "run_dir", "sweep.")


def apply_resume(config: Config) -> Path | None:
    """The checkpoint to go on from, if any; its run goes on in its own folder, with what was settled when it began.

    Raises:
        CheckpointError: As `find_resume` has it.
        ConfigError: If that run had another configuration.
    """
    checkpoint = find_resume_checkpoint(config)
    previous_run_dir = find_run_dir(checkpoint) if checkpoint is not None else None
    if previous_run_dir is not None:
        config.run_dir = str(previous_run_dir)
        inherit_resolved_values(config, previous_run_dir / "config.yaml")
        check_changed_keys(config, previous_run_dir / "config.yaml")
    return checkpoint


def init_weights(module: ImageClassifier, checkpoint: Path | None) -> None:
    """Make sure that a checkpoint's weights fit, or fetch those that a pretrained network begins with."""
    if checkpoint is not None:
        check_same_hparams(checkpoint, module.hparams)
    elif isinstance(module.network, FineTunable):
        module.network.load_weights()


def find_resume_checkpoint(config: Config) -> Path | None:
    """The checkpoint that `config.resume` means; None to start afresh.

    `auto` looks into the run's own folder, then for the newest run beside it that had the same configuration and has
    not finished. Of a run's checkpoints it is the last one that can be read; the others are told.

    Args:
        config: The run that is about to begin.

    Raises:
        CheckpointError: If there is none at a given path, or none that can be read.
    """
    run_dir = Path(config.run_dir)
    if config.resume is None:
        return None
    if config.resume == "auto":
        own_dir = run_dir if has_checkpoint(run_dir) else None
        folder = own_dir or max(
            find_matching_runs(config), key=lambda twin: (twin / LAST_CHECKPOINT.parent).stat().st_mtime, default=None
        )
        return None if folder is None else latest_valid_checkpoint(folder)
    path = Path(config.resume).expanduser()
    if path.is_dir() and has_checkpoint(path):
        return latest_valid_checkpoint(path)
    check_checkpoint_exists(path, "auto, a run folder or a checkpoint")
    return path


def latest_valid_checkpoint(run_dir: Path) -> Path:
    """The checkpoint of a run that is furthest on and whole.

    Raises:
        CheckpointError: If none of them can be read.
    """
    for partial in (run_dir / LAST_CHECKPOINT.parent).glob(".*.partial"):
        print(f"{partial} is what a write that was cut off has left; passed over", file=sys.stderr)
    failures = []
    for path in (run_dir / LAST_CHECKPOINT, run_dir / BEST_CHECKPOINT):
        if not path.is_file():
            continue
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            failures.append(str(error))
            continue
        for message in failures:
            print(f"{message}; going on from {path}", file=sys.stderr)
        return path
    raise CheckpointError("; ".join(failures))


def has_checkpoint(run_dir: Path) -> bool:
    """Whether a run has saved anything."""
    return (run_dir / LAST_CHECKPOINT).is_file() or (run_dir / BEST_CHECKPOINT).is_file()


def find_matching_runs(config: Config) -> Iterator[Path]:
    """The run folders beside this one's of the same configuration, apart from folder and length, without a report."""
    for saved_path in Path(config.run_dir).parent.glob("*/config.yaml"):
        folder = saved_path.parent
        if has_checkpoint(folder) and not (folder / "report.json").exists() and is_same_experiment(config, saved_path):
            yield folder


def check_changed_keys(config: Config, saved_path: Path) -> None:
    """Name what is otherwise than in the configuration of the run that goes on.

    Raises:
        ConfigError: If that cannot be changed in the middle of a run.
    """
    current, previous = flatten(to_redacted_dict(config)), flatten(load_saved_config(saved_path))
    for key in sorted(current.keys() | previous.keys()):
        if key.startswith(IGNORED_KEYS) or current.get(key) in (None, previous.get(key)):  # null is yet to be settled
            continue
        if not key.startswith(CHANGEABLE_KEYS):
            raise ConfigError(
                f"{key}={current.get(key)} cannot be changed as a run goes on; {saved_path} has {key}={previous.get(key)}; "
                "repeat the command of that run, or start afresh without resume"
            )
        print(f"going on with {key}={current.get(key)} in place of {previous.get(key)}", file=sys.stderr)


def check_same_images(run_dir: Path, splits: Splits, scan: DatasetIndex) -> None:
    """Raise DataError unless the images are those that a run began with, split as they were."""
    path = run_dir / "split.csv"
    if not path.exists():
        return
    saved_rows = {tuple(row) for _, row in read_split_rows(path)}
    current_rows = {tuple(map(str, row)) for row in build_split_rows(splits, scan)}
    current_names, saved_names = (
        ", ".join(sorted({label for _, label, _ in rows})) for rows in (current_rows, saved_rows)
    )
    if current_names != saved_names:
        raise DataError(
            f"{scan.root} has the classes {current_names}; the run began with {saved_names}; start afresh without resume"
        )
    added, missing = sorted(current_rows - saved_rows), sorted(saved_rows - current_rows)
    if added or missing:
        example = (added or missing)[0]
        raise DataError(
            f"{scan.root} is not what the run began with: {len(added)} new and {len(missing)} missing lines of {path}, "
            f"such as {','.join(example)}; give the images as they were, or start afresh without resume"
        )


def check_same_hparams(checkpoint: Path, hparams: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a checkpoint was made of these settings of an `ImageClassifier`."""
    saved = read_checkpoint(checkpoint)["hyper_parameters"]
    for key, value in hparams.items():
        if saved[key] != value:
            raise CheckpointError(
                f"resume={checkpoint}: the checkpoint has {key} {saved[key]}, this run has {value}; "
                "repeat the command of that run, or start afresh"
            )
