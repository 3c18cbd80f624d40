"""How Lightning writes and reads its checkpoints here: whole, sealed, and as plain data."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from cnn_classifier.sealed import save_with_checksum, verify_checksum


class ChecksummedCheckpointIO(CheckpointIO):
    """`cnn_classifier.sealed` as Lightning's plugin; the arguments it does not name are Lightning's own."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        save_with_checksum(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        verify_checksum(Path(path))
        return torch.load(path, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
