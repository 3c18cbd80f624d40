"""The best checkpoint of a `Trainer`, and the paths in the state of its `ModelCheckpoint` when a run was moved."""

import sys
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cnn_classifier.files import BEST_CHECKPOINT


class CheckpointPaths(Callback):
    """A `Callback` that replaces the paths in the state of each `ModelCheckpoint` when a checkpoint is loaded.

    Lightning saves absolute paths and forgets the best score if `dirpath` has changed. Without this callback, a run
    that was moved or copied would overwrite its best checkpoint by a worse one, or write to the original.
    """

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        states = checkpoint.get("callbacks", {})
        for callback in trainer.checkpoint_callbacks:
            if not isinstance(callback, ModelCheckpoint) or not callback.dirpath or "://" in str(callback.dirpath):
                continue
            if (state := states.get(callback.state_key)) and state.get("dirpath"):
                new_state = relocate(state, Path(callback.dirpath), find_best=max if callback.mode == "max" else min)
                if trainer.is_global_zero and state["best_model_path"] and not new_state["best_model_path"]:
                    print(f"{state['best_model_path']} is missing: the next epoch is the best one", file=sys.stderr)
                states[callback.state_key] = new_state


def relocate(state: Mapping[str, Any], folder: Path, *, find_best: Any) -> dict[str, Any]:
    """Return the state of a `ModelCheckpoint` with its files in another folder; files that do not exist are forgotten.

    Args:
        state: The state, see `ModelCheckpoint.state_dict`.
        folder: The folder of the checkpoints.
        find_best: `min` or `max`, which finds the best score.
    """
    old_folder = state["dirpath"]
    scores = {move_path(path, old_folder, folder): score for path, score in state.get("best_k_models", {}).items()}
    scores = {path: score for path, score in scores.items() if Path(path).exists()}
    best_path = move_path(state["best_model_path"], old_folder, folder)
    best_score = state["best_model_score"]
    if not (best_path and Path(best_path).exists()):
        best_path = find_best(scores, key=scores.__getitem__, default="")
        best_score = scores.get(best_path)
    paths = {
        key: move_path(state.get(key, ""), old_folder, folder) for key in ("kth_best_model_path", "last_model_path")
    }
    best = {"best_k_models": scores, "best_model_path": best_path, "best_model_score": best_score}
    return {**state, **paths, **best, "dirpath": str(folder)}


def move_path(path: str, old_folder: str, folder: Path) -> str:
    """Return a path with its folder replaced; paths outside of the old folder and empty ones are unchanged.

    Args:
        path: A path that was saved on any operating system.
        old_folder: Its former folder, an absolute path of the same operating system.
        folder: Its folder on this machine.
    """
    flavor: type[PurePath] = PurePosixPath if old_folder.startswith("/") else PureWindowsPath
    if not path or not flavor(path).is_relative_to(flavor(old_folder)):
        return path
    return str(folder.joinpath(*flavor(path).relative_to(flavor(old_folder)).parts))


def get_best_checkpoint(trainer: Trainer, run_dir: Path) -> Path:
    """Return the checkpoint with the best monitored value; save the last weights if no callback monitors one."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            return Path(callback.best_model_path)
    path = run_dir / BEST_CHECKPOINT
    trainer.save_checkpoint(path, weights_only=False)  # with the optimizer state, so that the run can be resumed
    return path


def keep_best(trainer: Trainer, path: Path, metrics: Mapping[str, float]) -> None:
    """Make an existing checkpoint the best one so far, which only a better epoch replaces.

    Args:
        trainer: The `Trainer`, before `fit`.
        path: The checkpoint.
        metrics: Its metrics on the validation images.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and str(callback.monitor) in metrics and callback.dirpath:
            score, best_path = torch.tensor(metrics[str(callback.monitor)]), str(Path(callback.dirpath, path.name))
            state = callback.state_dict() | {"best_model_score": score, "best_model_path": best_path}
            state |= {"best_k_models": {best_path: score}, "kth_best_model_path": best_path, "kth_value": score}
            callback.load_state_dict(state)
