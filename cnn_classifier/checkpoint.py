"""Read checkpoints safely, and find the one to resume from."""

import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.build import require_trusted
from cnn_classifier.card import Card
from cnn_classifier.config import Config, same_run
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
BEST = Path("checkpoints", "best.ckpt")
LAST = Path("checkpoints", "last.ckpt")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The plain data of one of our checkpoints, on the CPU.

    Raises:
        CheckpointError: If it is missing, damaged, holds more than plain data, or is not ours.
    """
    path = Path(path)
    path = path / BEST if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist; expected a run folder or a checkpoint such as outputs/.../checkpoints/best.ckpt"
        )
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


def read_trained(path: str | Path, *, trusted: Sequence[str] = ()) -> tuple[ImageClassifier, Card]:
    """The trained classifier, ready to predict on the CPU, and what its answers mean; the file alone is enough.

    Args:
        path: A checkpoint, or the folder of a run, whose best one it is then.
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
        card = Card(
            class_names=classifier.class_names,
            preprocess=classifier.preprocess,
            aliases=classifier.aliases,
            **content.get("calibration", {}),
        )
    except (ConfigError, TypeError, KeyError, RuntimeError) as error:
        told = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: its weights and its network do not fit together ({told})") from error
    return classifier.eval(), card


def write_calibration(path: Path, *, temperature: float, threshold: float) -> None:
    """Add to a checkpoint what validation images told of its answers, as `Card` has it."""
    content = read_checkpoint(path) | {"calibration": {"temperature": temperature, "threshold": threshold}}
    partial = path.with_name(f".{path.name}.partial")
    torch.save(content, partial)
    partial.replace(path)


def find_resume(config: Config) -> Path | None:
    """The checkpoint that `config.resume` means; None to start afresh.

    `auto` looks into the run's own folder, then for the newest run beside it that had the same configuration and has
    not finished.

    Args:
        config: The run that is about to begin.

    Raises:
        CheckpointError: If there is none at a given path.
    """
    run_dir = Path(config.run_dir)
    if config.resume is None:
        return None
    if config.resume == "auto" and not (run_dir / LAST).is_file():
        beside = (path for path in run_dir.parent.glob(f"*/{LAST.as_posix()}") if is_unfinished_twin(path, config))
        return max(beside, key=lambda path: path.stat().st_mtime, default=None)
    path = run_dir / LAST if config.resume == "auto" else Path(config.resume).expanduser()
    path = path / LAST if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(f"resume={config.resume}: {path} does not exist; give a checkpoint, a run folder or auto")
    return path


def require_same(checkpoint: Path, settings: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a checkpoint was made of these settings of an `ImageClassifier`."""
    saved = read_checkpoint(checkpoint)["hyper_parameters"]
    for key, value in settings.items():
        if saved[key] != value:
            raise CheckpointError(
                f"resume={checkpoint}: the checkpoint has {key} {saved[key]}, this run has {value}; "
                "repeat the command of that run, or start afresh"
            )


def run_dir_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if it lies in one."""
    folder = checkpoint.parent.parent
    return folder if checkpoint.parent.name == "checkpoints" and (folder / "config.yaml").is_file() else None


def is_unfinished_twin(checkpoint: Path, config: Config) -> bool:
    """Whether a checkpoint's run had this configuration, apart from its folder and length, and has no report."""
    folder = run_dir_of(checkpoint)
    return folder is not None and not (folder / "report.json").exists() and same_run(config, folder / "config.yaml")
