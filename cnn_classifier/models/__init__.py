"""Networks, one architecture per module: images (B, C, H, W) to logits (B, K)."""

from collections.abc import Mapping
from typing import Any

from cnn_classifier.errors import ConfigError

MODELS = {
    "baseline": "cnn_classifier.models.baseline.Baseline",
    "cnn": "cnn_classifier.models.cnn.CNN",
    "pretrained": "cnn_classifier.models.pretrained.Pretrained",
    "resnet": "cnn_classifier.models.resnet.ResNet",
}


def get_model_config(model: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return `_target_` and arguments of a network.

    Args:
        model: The name of a network of this package, or `_target_` and arguments, which are returned as they are.

    Raises:
        ConfigError: If there is no network of this name.
    """
    if not isinstance(model, str):
        return dict(model)
    if model not in MODELS:
        raise ConfigError(f"model={model} does not exist; expected one of: {', '.join(MODELS)}")
    return {"_target_": MODELS[model]}
