"""Weights in safetensors format, with the hyperparameters as JSON in the header."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cnn_classifier.config.instantiate import check_trusted_hparams, without_pretrained_weights
from cnn_classifier.errors import CheckpointError, ConfigError, first_line, install_command
from cnn_classifier.files import atomic_write
from cnn_classifier.models.feature_bank import FeatureBank
from cnn_classifier.training.module import ImageClassifier

HPARAMS_KEY = "hyper_parameters"
FEATURE_BANK_PREFIX = "feature_bank."
INSTALL_HINT = f"safetensors bundles require a package that is not installed: {install_command('export')}"


def save_safetensors(path: Path, classifier: ImageClassifier) -> None:
    """Write the weights and hyperparameters of a classifier.

    Args:
        path: The file to write.
        classifier: The trained module.

    Raises:
        ConfigError: If safetensors is not installed.
    """
    try:
        from safetensors.torch import save
    except ModuleNotFoundError as error:
        raise ConfigError(INSTALL_HINT) from error
    weights: Mapping[str, Tensor] = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    # `safetensors.torch.save_file` would create the file with mode 0600.
    atomic_write(path, save(dict(weights), metadata={HPARAMS_KEY: json.dumps(dict(classifier.hparams))}))


def load_safetensors(path: Path, *, trusted: Sequence[str] = ()) -> ImageClassifier:
    """Load a classifier that `save_safetensors` wrote.

    Args:
        path: The path of `model.safetensors`.
        trusted: Import path prefixes of additional modules that the file may reference.

    Raises:
        ConfigError: If safetensors is not installed.
        CheckpointError: If the file is damaged or not written by cnn_classifier, or references a network outside
            cnn_classifier and `trusted`.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise ConfigError(INSTALL_HINT) from error
    try:
        with safe_open(path, "pt") as file:
            hparams: dict[str, Any] = json.loads((file.metadata() or {})[HPARAMS_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
        check_trusted_hparams(hparams, trusted)
        classifier = ImageClassifier(**hparams | {"model": without_pretrained_weights(hparams["model"])})
        bank_names = [name for name in weights if name.startswith(FEATURE_BANK_PREFIX)]
        bank = {name.removeprefix(FEATURE_BANK_PREFIX): weights.pop(name) for name in bank_names}
        classifier.load_state_dict(weights)
        classifier.feature_bank = FeatureBank.from_tensors(bank) if bank else None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ConfigError) as error:
        detail = first_line(error).rstrip(".")
        raise CheckpointError(f"Cannot load {path}: {detail}. Export the bundle again.") from error
    return classifier
