"""Keep the class names and the preprocessing of module and data module consistent."""

from dataclasses import replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.errors import DataError


class DataConsistency(Callback):
    """Give a module the class names and preprocessing of the data module, or check that they agree with its own."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare module and data module.

        Raises:
            DataError: If they disagree. Mean and standard deviation may differ: a checkpoint keeps its own.
        """
        module: Any = pl_module
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, ImageFolderDataModule):
            return
        names, preprocess, hparams = list(data.class_names), data.preprocess, module.hparams
        if hparams["class_names"] is None and len(names) == hparams["num_classes"]:
            module.class_names = hparams["class_names"] = names
        if hparams["preprocess"] is None:
            module.preprocess, hparams["preprocess"] = preprocess, preprocess.to_dict()
        if names != module.class_names:
            raise DataError(f"The data has the classes {names}, but the model has {module.class_names}.")
        expected = module.preprocess
        if replace(preprocess, mean=expected.mean, std=expected.std) != expected:
            raise DataError(
                f"The preprocessing of the data module, {preprocess}, differs from the model's {expected}. "
                "Pass the values of the model to ImageFolderDataModule."
            )
