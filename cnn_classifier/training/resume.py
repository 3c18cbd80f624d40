"""Resuming of runs: the checkpoint to continue from, and the values that may change."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnn_classifier.config.compose import Config, to_redacted_dict
from cnn_classifier.config.saved import (
    flatten_portable,
    inherit_resolved_values,
    is_same_experiment,
    load_saved_config,
)
from cnn_classifier.data import AUTO
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.split import Splits
from cnn_classifier.data.splits.split_csv import build_split_rows, read_split_rows
from cnn_classifier.errors import CheckpointError, ConfigError, DataError
from cnn_classifier.files import BEST_CHECKPOINT, CONFIG_FILE, LAST_CHECKPOINT, REPORT_JSON, SPLIT_FILE
from cnn_classifier.training.checkpoints import check_checkpoint_exists, find_run_dir, read_checkpoint

# Config keys that may change on resume: they affect neither the data nor the result of the steps so far.
CHANGEABLE_KEYS = (
    *("callbacks.", "compute.", "dataset.cache", "logger.", "test_time_flip", "trainer."),
    "dataset.split_seed",  # `check_same_images` compares the images
    "model.weights",  # where the checkpoint's weights once came from
    # The places of the same images; `check_same_images` compares what they contain.
    *(f"dataset.{key}" for key in ("root", "source", "mirror", "split_file", "train_dir", "val_dir", "test_dir")),
)
IGNORED_KEYS = ("resume", "run_dir", "sweep.")


def apply_resume(config: Config) -> Path | None:
    """Find the checkpoint to resume from, and copy the run directory and the resolved values of its run to the config.

    Args:
        config: The config of the new run; `run_dir` and the values that are `auto` are replaced in place.

    Returns:
        The path of the checkpoint, None to start a new run.

    Raises:
        CheckpointError: If the checkpoint does not exist or cannot be read.
        ConfigError: If a config key differs that cannot change on resume.
    """
    checkpoint = find_resume_checkpoint(config)
    previous_run_dir = find_run_dir(checkpoint) if checkpoint is not None else None
    if previous_run_dir is not None:
        config.run_dir = str(previous_run_dir)
        if config.model._target_ == AUTO and checkpoint is not None and checkpoint.name != LAST_CHECKPOINT.name:
            return None  # the last stage has not started: the others, whose features are cached, start again
        inherit_resolved_values(config, previous_run_dir / CONFIG_FILE)
        check_changed_keys(config, previous_run_dir / CONFIG_FILE)
    return checkpoint


def find_resume_checkpoint(config: Config) -> Path | None:
    """Find the checkpoint that `config.resume` selects.

    `resume=auto` selects the checkpoint in the run directory, or else in the newest unfinished run next to it with the
    same config. Of the checkpoints of a run, the latest readable one is used; damaged ones are reported.

    Args:
        config: The config of the new run.

    Returns:
        The path of the checkpoint, None to start a new run.

    Raises:
        CheckpointError: If the given path does not exist, or no checkpoint can be read.
    """
    run_dir = Path(config.run_dir)
    if config.resume is None:
        return None
    if config.resume == "auto":
        own_dir = run_dir if has_checkpoint(run_dir) else None
        folder = own_dir or max(
            find_matching_runs(config), key=lambda run: (run / LAST_CHECKPOINT.parent).stat().st_mtime, default=None
        )
        return None if folder is None else latest_valid_checkpoint(folder)
    path = Path(config.resume).expanduser()
    if path.is_dir() and has_checkpoint(path):
        return latest_valid_checkpoint(path)
    check_checkpoint_exists(path, "auto, a run folder or a checkpoint")
    return path


def latest_valid_checkpoint(run_dir: Path) -> Path:
    """Return the latest checkpoint of a run that can be read, and report the others on standard error.

    Args:
        run_dir: The directory of the run.

    Raises:
        CheckpointError: If no checkpoint can be read.
    """
    for partial in (run_dir / LAST_CHECKPOINT.parent).glob(".*.partial"):
        print(f"Ignoring {partial}: it is an incomplete write", file=sys.stderr)
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
            print(f"{message}; resuming from {path}", file=sys.stderr)
        return path
    raise CheckpointError("; ".join(failures))


def has_checkpoint(run_dir: Path) -> bool:
    """Return whether a run directory contains a checkpoint."""
    return (run_dir / LAST_CHECKPOINT).is_file() or (run_dir / BEST_CHECKPOINT).is_file()


def find_matching_runs(config: Config) -> Iterator[Path]:
    """Yield the directories next to `config.run_dir` of unfinished runs with the same config."""
    for saved_path in Path(config.run_dir).parent.glob(f"*/{CONFIG_FILE}"):
        folder = saved_path.parent
        if has_checkpoint(folder) and not (folder / REPORT_JSON).exists() and is_same_experiment(config, saved_path):
            yield folder


def check_changed_keys(config: Config, saved_path: Path) -> None:
    """Compare the config with that of the run to resume, and print the changed values.

    Args:
        config: The config of the resumed run.
        saved_path: The `config.yaml` of the run to resume.

    Raises:
        ConfigError: If a changed key is not one of `CHANGEABLE_KEYS`.
    """
    current, previous = flatten_portable(to_redacted_dict(config)), flatten_portable(load_saved_config(saved_path))
    for key in sorted(current.keys() | previous.keys()):
        if key.startswith(IGNORED_KEYS) or current.get(key) in (None, previous.get(key)):  # null is not resolved yet
            continue
        if not key.startswith(CHANGEABLE_KEYS):
            raise ConfigError(
                f"{key}={current.get(key)} cannot change on resume: {saved_path} has {key}={previous.get(key)}; "
                "repeat the command of that run, or start a new run without resume"
            )
        print(f"Resuming with {key}={current.get(key)} instead of {previous.get(key)}", file=sys.stderr)


def check_same_images(
    ckpt_path: Path | None, run_dir: Path, splits: Splits, index: DatasetIndex, digests: Mapping[Path, str]
) -> None:
    """Raise `DataError` if classes, images or splits differ from the `split.csv` of the run to resume."""
    path = run_dir / SPLIT_FILE
    if ckpt_path is None or not path.exists():
        return
    saved_rows = {tuple(row) for _, row in read_split_rows(path)}
    num_columns = min(map(len, saved_rows))  # runs of version 0.1 saved no digests
    current_rows = {tuple(map(str, row[:num_columns])) for row in build_split_rows(splits, index, digests)}
    current_names, saved_names = (", ".join(sorted({row[1] for row in rows})) for rows in (current_rows, saved_rows))
    if current_names != saved_names:
        raise DataError(
            f"{index.root} has the classes {current_names}, but the run started with {saved_names}; "
            "start a new run without resume"
        )
    added, missing = sorted(current_rows - saved_rows), sorted(saved_rows - current_rows)
    if added or missing:
        example = (added or missing)[0]
        raise DataError(
            f"{index.root} differs from the start of the run: {len(added)} new and {len(missing)} missing lines of "
            f"{path}, for example {','.join(example)}; restore the images, or start a new run without resume"
        )


def check_same_hparams(checkpoint: Path, hparams: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` if the hyperparameters of a checkpoint differ from those of the module."""
    saved = read_checkpoint(checkpoint)["hyper_parameters"]
    for node in (saved, hparams := dict(hparams)):  # the weights with which the run started are not read again
        node["model"] = {name: value for name, value in node["model"].items() if name != "weights"}
    for key, value in hparams.items():
        if saved[key] != value:
            raise CheckpointError(
                f"resume={checkpoint}: the checkpoint has {key} {saved[key]}, this run has {value}; "
                "repeat the command of that run, or start a new run without resume"
            )
