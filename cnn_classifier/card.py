"""What must be known of a trained network beside its weights: plain data, in a checkpoint or in `model.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_classifier.data.preprocess import Preprocess
from cnn_classifier.errors import CheckpointError
from cnn_classifier.storage import write_json

MODEL_JSON = "model.json"
CARD_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Card:
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
    least_familiarity: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write `model.json`."""
        content = {
            "format": CARD_FORMAT,
            "class_names": list(self.class_names),
            "preprocess": self.preprocess.as_dict(),
            "aliases": self.aliases,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "least_familiarity": self.least_familiarity,
        }
        write_json(folder / MODEL_JSON, content | {"about": dict(self.about)})

    @classmethod
    def read(cls, folder: Path) -> "Card":
        """The card of a bundle.

        Raises:
            CheckpointError: If it is missing, damaged or of a newer version.
        """
        path = folder / MODEL_JSON
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != CARD_FORMAT:
                raise CheckpointError(f"{path} is of a newer version of cnn_classifier; upgrade to read it")
            return cls(**content | {"preprocess": Preprocess.from_dict(content["preprocess"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            told = f"{type(error).__name__}: {error}"
            raise CheckpointError(f"{path} cannot be read ({told}); export the bundle again") from error
