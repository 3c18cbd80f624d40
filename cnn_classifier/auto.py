"""Fill in what a configuration leaves `auto`, and tell why; before the images are decoded."""

from dataclasses import asdict

from cnn_classifier.budget import AUTO
from cnn_classifier.config import Config, plain, set_values
from cnn_classifier.data.census import train_images
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.models.backbones import normalisation, required_size
from cnn_classifier.plans import is_pretrained
from cnn_classifier.recipe import resolve
from cnn_classifier.trainer import tune


def settle(config: Config, scan: Scan) -> list[str]:
    """Fill in what is `auto`, from the data and from how fast this machine computes; a line for each reason."""
    num_classes = len(scan.class_names)
    values = plain(config) | {"dataset": asdict(dataset_options(config))}
    if values["dataset"]["image_size"] == AUTO and is_pretrained(config.model):
        values["dataset"]["image_size"] = required_size(config.model.backbone) or AUTO
    images = train_images(values, scan)
    recipe = resolve(values, scan, lambda values, limit: tune(values, num_classes, images, limit=limit)[0].step)
    measured, why = tune(recipe.values, num_classes, images)
    set_values(config, {"dataset": recipe.values["dataset"]} | {found.key: found.value for found in recipe.settled})
    choice = measured.choice
    config.trainer.update(precision=choice.precision, layout=choice.layout, compile=choice.compile)
    return [*map(str, recipe.settled), f"computing with {choice} ({why})"]


def dataset_options(config: Config) -> DatasetOptions:
    """The data's options; images for a pretrained network are normalised as it knows them."""
    values = plain(config.dataset)
    if is_pretrained(config.model):
        for key, known in normalisation(config.model.backbone).items():
            given = values.get(key)
            values[key] = given or (known if values.get("channels", 3) == 3 else [sum(known) / len(known)])
    return DatasetOptions(**values)
