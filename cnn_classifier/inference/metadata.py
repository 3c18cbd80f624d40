"""Metadata of a trained model besides its weights: plain data in a checkpoint or in `model.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.errors import CheckpointError
from cnn_classifier.files import write_json

MODEL_JSON = "model.json"
METADATA_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The metadata of a trained model.

    Args:
        class_names: The name of each class, in the order of the logits.
        preprocess: The preprocessing of image files.
        aliases: Other names of classes that evaluation accepts as folder names, e.g. `{"cane": "dog"}`.
        temperature: The softmax temperature (arXiv:1706.04599).
        threshold: The minimum probability of the most probable class; below it, a prediction is rejected.
        min_similarity: The minimum similarity; below it, a prediction is rejected. None disables the check.
        extra: Further plain data, such as the origin and the test accuracy of the model.
    """

    class_names: Sequence[str]
    preprocess: Preprocess
    aliases: Mapping[str | int, str | int] | None = None
    temperature: float = 1.0
    threshold: float = 0.0
    min_similarity: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write `model.json`."""
        content = {
            "format": METADATA_FORMAT,
            "class_names": list(self.class_names),
            "preprocess": self.preprocess.to_dict(),
            "aliases": self.aliases,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "min_similarity": self.min_similarity,
        }
        write_json(folder / MODEL_JSON, content | {"extra": dict(self.extra)})

    @classmethod
    def load(cls, folder: Path) -> "ModelMetadata":
        """Read `model.json` of a bundle.

        Raises:
            CheckpointError: If it is missing, damaged or of a newer version.
        """
        path = folder / MODEL_JSON
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != METADATA_FORMAT:
                raise CheckpointError(f"{path} is of a newer version of cnn_classifier; upgrade to read it")
            return cls(**content | {"preprocess": Preprocess.from_dict(content["preprocess"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            detail = f"{type(error).__name__}: {error}"
            raise CheckpointError(f"{path} cannot be read ({detail}); export the bundle again") from error
