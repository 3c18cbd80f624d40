"""Weights as safetensors: numbers alone, with the network's plain description in the header."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cnn_classifier.config.instantiate import check_trusted_target
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.models.feature_bank import FeatureBank
from cnn_classifier.training.module import ImageClassifier

HPARAMS_KEY = "hyper_parameters"
REFERENCE_FEATURES_KEY = "feature_bank.features"
INSTALL_HINT = "safetensors bundles need a package that is not installed; pip install 'cnn_classifier[export]'"


def save_safetensors(path: Path, classifier: ImageClassifier) -> None:
    """Write the weights and what is needed to build their network.

    Raises:
        ConfigError: If safetensors is not installed.
    """
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise ConfigError(INSTALL_HINT) from error
    weights: Mapping[str, Tensor] = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    save_file(dict(weights), path, metadata={HPARAMS_KEY: json.dumps(dict(classifier.hparams))})


def load_safetensors(path: Path, *, trusted: Sequence[str] = ()) -> ImageClassifier:
    """The inverse of `write_tensors`.

    Raises:
        ConfigError: If safetensors is not installed.
        CheckpointError: If the file is damaged or not ours, or names a network outside ours and `trusted`.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise ConfigError(INSTALL_HINT) from error
    try:
        with safe_open(path, "pt") as file:
            hparams: dict[str, Any] = json.loads((file.metadata() or {})[HPARAMS_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
        check_trusted_target(hparams["model"], trusted)
        classifier = ImageClassifier(**hparams)
        reference_features = weights.pop(REFERENCE_FEATURES_KEY, None)
        classifier.load_state_dict(weights)
        classifier.feature_bank = None if reference_features is None else FeatureBank(reference_features)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ConfigError) as error:
        detail = str(error).splitlines()[0]
        raise CheckpointError(f"{path} cannot be used ({detail}); export the bundle again") from error
    return classifier
