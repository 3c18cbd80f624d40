"""Where a training begins: at a checkpoint of an earlier one, or with weights learnt elsewhere, or from nothing."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnn_classifier.checkpoint import BEST, LAST, read_checkpoint, require_file, run_dir_of
from cnn_classifier.config import Config, adopt, as_saved, flat, read_saved, same_run
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.split import Splits
from cnn_classifier.data.split_file import read_rows, rows_of
from cnn_classifier.errors import CheckpointError, ConfigError, DataError
from cnn_classifier.models.staged import Staged
from cnn_classifier.module import ImageClassifier

# What may be otherwise when a run goes on: it changes neither what was learnt nor from what.
MAY_CHANGE = ("callbacks.", "dataset.cache", "dataset.root", "flip_test", "logger.", "trainer.")
OF_ITS_OWN = ("resume", "run_dir", "sweep.")


def take_up(config: Config) -> Path | None:
    """The checkpoint to go on from, if any; its run goes on in its own folder, with what was settled when it began.

    Raises:
        CheckpointError: As `find_resume` has it.
        ConfigError: If that run had another configuration.
    """
    resumed = find_resume(config)
    run_before = run_dir_of(resumed) if resumed is not None else None
    if run_before is not None:
        config.run_dir = str(run_before)
        adopt(config, run_before / "config.yaml")
        tell_changes(config, run_before / "config.yaml")
    return resumed


def begin_weights(module: ImageClassifier, resumed: Path | None) -> None:
    """Make sure that a checkpoint's weights fit, or fetch those that a pretrained network begins with."""
    if resumed is not None:
        require_same(resumed, module.hparams)
    elif isinstance(module.network, Staged):
        module.network.load_weights()


def find_resume(config: Config) -> Path | None:
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
        own = run_dir if is_begun(run_dir) else None
        folder = own or max(twins(config), key=lambda twin: (twin / LAST.parent).stat().st_mtime, default=None)
        return None if folder is None else newest_good(folder)
    path = Path(config.resume).expanduser()
    if path.is_dir() and is_begun(path):
        return newest_good(path)
    require_file(path, "auto, a run folder or a checkpoint")
    return path


def newest_good(run_dir: Path) -> Path:
    """The checkpoint of a run that is furthest on and whole.

    Raises:
        CheckpointError: If none of them can be read.
    """
    for left in (run_dir / LAST.parent).glob(".*.partial"):
        print(f"{left} is what a write that was cut off has left; passed over", file=sys.stderr)
    damaged = []
    for path in (run_dir / LAST, run_dir / BEST):
        if not path.is_file():
            continue
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        for told in damaged:
            print(f"{told}; going on from {path}", file=sys.stderr)
        return path
    raise CheckpointError("; ".join(damaged))


def is_begun(run_dir: Path) -> bool:
    """Whether a run has saved anything."""
    return (run_dir / LAST).is_file() or (run_dir / BEST).is_file()


def twins(config: Config) -> Iterator[Path]:
    """The run folders beside this one's of the same configuration, apart from folder and length, without a report."""
    for saved in Path(config.run_dir).parent.glob("*/config.yaml"):
        folder = saved.parent
        if is_begun(folder) and not (folder / "report.json").exists() and same_run(config, saved):
            yield folder


def tell_changes(config: Config, saved: Path) -> None:
    """Name what is otherwise than in the configuration of the run that goes on.

    Raises:
        ConfigError: If that cannot be changed in the middle of a run.
    """
    mine, theirs = flat(as_saved(config)), flat(read_saved(saved))
    for key in sorted(mine.keys() | theirs.keys()):
        if key.startswith(OF_ITS_OWN) or mine.get(key) in (None, theirs.get(key)):  # null is yet to be settled
            continue
        if not key.startswith(MAY_CHANGE):
            raise ConfigError(
                f"{key}={mine.get(key)} cannot be changed as a run goes on; {saved} has {key}={theirs.get(key)}; "
                "repeat the command of that run, or start afresh without resume"
            )
        print(f"going on with {key}={mine.get(key)} in place of {theirs.get(key)}", file=sys.stderr)


def require_same_images(run_dir: Path, splits: Splits, scan: Scan) -> None:
    """Raise DataError unless the images are those that a run began with, split as they were."""
    path = run_dir / "split.csv"
    if not path.exists():
        return
    before = {tuple(row) for _, row in read_rows(path)}
    now = {tuple(map(str, row)) for row in rows_of(splits, scan)}
    names, known = (", ".join(sorted({label for _, label, _ in rows})) for rows in (now, before))
    if names != known:
        raise DataError(f"{scan.root} has the classes {names}; the run began with {known}; start afresh without resume")
    new, gone = sorted(now - before), sorted(before - now)
    if new or gone:
        example = (new or gone)[0]
        raise DataError(
            f"{scan.root} is not what the run began with: {len(new)} new and {len(gone)} missing lines of {path}, "
            f"such as {','.join(example)}; give the images as they were, or start afresh without resume"
        )


def require_same(checkpoint: Path, settings: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a checkpoint was made of these settings of an `ImageClassifier`."""
    saved = read_checkpoint(checkpoint)["hyper_parameters"]
    for key, value in settings.items():
        if saved[key] != value:
            raise CheckpointError(
                f"resume={checkpoint}: the checkpoint has {key} {saved[key]}, this run has {value}; "
                "repeat the command of that run, or start afresh"
            )
