"""From a folder of images to a trained, tested, reusable classifier."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_classifier.inference.predictor import Prediction, Predictor

__version__ = "0.1.0"
__all__ = ["Prediction", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazily (PEP 562): `--help` and configuration errors must answer before torch is imported.
    if name in ("Prediction", "Predictor"):
        return getattr(import_module("cnn_classifier.inference.predictor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
