"""Train image classifiers from a folder of images, with PyTorch Lightning and Hydra."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_classifier.config.compose import load_config
    from cnn_classifier.data.datamodule import ImageFolderDataModule
    from cnn_classifier.inference.prediction import Prediction
    from cnn_classifier.inference.predictor import Predictor
    from cnn_classifier.sweep.folds import train
    from cnn_classifier.training.module import ImageClassifier

__version__ = "0.2.0"
__all__ = [
    "ImageClassifier",
    "ImageFolderDataModule",
    "Prediction",
    "Predictor",
    "__version__",
    "load_config",
    "train",
]
MODULES = {
    "ImageClassifier": "training.module",
    "ImageFolderDataModule": "data.datamodule",
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
    "load_config": "config.compose",
    "train": "sweep.folds",
}


def __getattr__(name: str) -> Any:
    """Import the public names lazily (PEP 562), so that `--help` and errors do not wait for torch."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"cnn_classifier.{MODULES[name]}"), name)
    globals()[name] = value
    return value


class Package(ModuleType):
    """The class of this package, in which `train` is always the function, also after an import of `train.py`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "train" or not isinstance(value, ModuleType):  # Python binds a submodule to its package
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package
