"""Weights as safetensors: numbers alone, with the network's plain description in the header."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cnn_classifier.build import require_trusted
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.familiarity import Familiarity
from cnn_classifier.module import ImageClassifier

DESCRIPTION = "hyper_parameters"
KNOWN = "familiarity.known"
MISSING = "safetensors bundles need a package that is not installed; pip install 'cnn_classifier[export]'"


def write_tensors(path: Path, classifier: ImageClassifier) -> None:
    """Write the weights and what is needed to build their network.

    Raises:
        ConfigError: If safetensors is not installed.
    """
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise ConfigError(MISSING) from error
    weights: Mapping[str, Tensor] = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    save_file(dict(weights), path, metadata={DESCRIPTION: json.dumps(dict(classifier.hparams))})


def read_tensors(path: Path, *, trusted: Sequence[str] = ()) -> ImageClassifier:
    """The inverse of `write_tensors`.

    Raises:
        ConfigError: If safetensors is not installed.
        CheckpointError: If the file is damaged or not ours, or names a network outside ours and `trusted`.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise ConfigError(MISSING) from error
    try:
        with safe_open(path, "pt") as file:
            settings: dict[str, Any] = json.loads((file.metadata() or {})[DESCRIPTION])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
        require_trusted(settings["model"], trusted)
        classifier = ImageClassifier(**settings)
        known = weights.pop(KNOWN, None)
        classifier.load_state_dict(weights)
        classifier.familiarity = None if known is None else Familiarity(known)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ConfigError) as error:
        told = str(error).splitlines()[0]
        raise CheckpointError(f"{path} cannot be used ({told}); export the bundle again") from error
    return classifier
