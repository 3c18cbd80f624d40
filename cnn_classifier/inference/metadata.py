"""What must be known of a trained network beside its weights: plain data, in a checkpoint or in `model.json`."""

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
    """How images become the network's input, and its logits an answer.

    Args:
        class_names: Name of each class; an index of the logits is an index into them.
        preprocess: How an image file becomes pixels, and pixels the network's input.
        aliases: Folders that name a class otherwise, `{cane: dog}`.
        temperature: What the logits are divided by before the softmax, so that probabilities are as often right as
            they say (arXiv:1706.04599).
        threshold: Below this probability of the likeliest class the answer is `unknown`.
        least_familiarity: Below this familiarity, too; None if the model does not tell.
        about: What else is told of the model: where it comes from, what it was measured to do.
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
        """The card of a bundle.

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
