"""Read checkpoints safely, and find the one to resume from."""

import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.build import require_trusted
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.module import CHECKPOINT_FORMAT, ImageClassifier

# What torch raises on files that are no checkpoints.
UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    struct.error,
)
LAST = Path("checkpoints", "last.ckpt")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The plain data of one of our checkpoints, on the CPU.

    Raises:
        CheckpointError: If it is missing, damaged, holds more than plain data, or is not ours.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; expected a checkpoint such as outputs/.../checkpoints/best.ckpt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNPICKLING_ERRORS as error:
        # torch's own message advises to load the file without the safety.
        found = re.search(r"(?i:unsupported global):? (?:GLOBAL )?(\S+)", str(error))
        reason = f"it names {found[1]}, which is code" if found else "it is damaged or something else"
        raise CheckpointError(f"{path} is no checkpoint of plain data: {reason}; give one that we wrote") from error
    ours = content.get("cnn_classifier") if isinstance(content, dict) else None
    if not isinstance(ours, dict) or not {"hyper_parameters", "state_dict"} <= content.keys():
        raise CheckpointError(f"{path} was not written by cnn_classifier; train one with `python train.py`")
    if ours.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{path} was written by cnn_classifier {ours.get('version')}; upgrade to read it")
    return content


def load_classifier(path: str | Path, *, trusted: Sequence[str] = ()) -> ImageClassifier:
    """The trained classifier, ready to predict on the CPU; the file alone is enough.

    Args:
        path: A checkpoint.
        trusted: Import paths, such as `mypackage.nets.`, of networks of your own that it may name.

    Raises:
        CheckpointError: If it is missing, damaged or not ours, or names a network outside ours and `trusted`.
    """
    content = read_checkpoint(path)
    settings = content["hyper_parameters"]
    try:
        require_trusted(settings["model"], trusted)
        classifier = ImageClassifier(**settings)
        classifier.load_state_dict(content["state_dict"])
    except (ConfigError, TypeError, KeyError, RuntimeError) as error:
        told = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: its weights and its network do not fit together ({told})") from error
    return classifier.eval()


def find_resume(resume: str | None, run_dir: Path, settings: Mapping[str, Any]) -> Path | None:
    """The checkpoint to go on from; None to start afresh.

    `auto` looks into the run's own folder, then for the newest run beside it that has the same settings and has not
    finished.

    Args:
        resume: `auto`, a checkpoint, a run folder, or None.
        run_dir: The folder of the run that is about to begin.
        settings: What its `ImageClassifier` will be made of.

    Raises:
        CheckpointError: If a path was given, and there is nothing or something for another task.
    """
    if resume is None:
        return None
    if resume == "auto":
        beside = [path for path in run_dir.parent.glob(f"*/{LAST.as_posix()}") if not is_finished(path)]
        newest_first = sorted(beside, key=lambda path: path.stat().st_mtime, reverse=True)
        own = [run_dir / LAST] if (run_dir / LAST).is_file() else []
        return next((path for path in own + newest_first if not difference(path, settings)), None)
    path = Path(resume).expanduser()
    path = path / LAST if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(f"resume={resume}: {path} does not exist; give a checkpoint, a run folder or auto")
    if told := difference(path, settings):
        raise CheckpointError(f"resume={resume}: {told}; repeat the command of that run, or start afresh")
    return path


def run_dir_of(checkpoint: Path) -> Path:
    """The run folder that a checkpoint lies in."""
    return checkpoint.parent.parent


def is_finished(checkpoint: Path) -> bool:
    """Whether the run of a checkpoint got as far as its report."""
    return (run_dir_of(checkpoint) / "report.json").exists()


def difference(path: Path, settings: Mapping[str, Any]) -> str:
    """What keeps a run with these settings from going on from a checkpoint; empty if nothing does."""
    saved = read_checkpoint(path)["hyper_parameters"]
    told = (
        f"the checkpoint has {key} {saved[key]}, this run has {settings[key]}"
        for key in ("class_names", "model", "preprocess")
        if saved[key] != settings[key]
    )
    return next(told, "")
