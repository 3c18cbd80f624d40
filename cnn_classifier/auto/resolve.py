"""Fill in what a configuration leaves `auto`, and tell why; before the images are decoded."""

from dataclasses import asdict

from cnn_classifier.auto.dataset_stats import estimate_train_size
from cnn_classifier.auto.execution import tune_execution
from cnn_classifier.auto.recipe import resolve_recipe
from cnn_classifier.config.compose import Config, set_values, to_container
from cnn_classifier.data import AUTO
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.models.backbones import required_size
from cnn_classifier.models.validation import is_pretrained
from cnn_classifier.training.build import build_dataset_config


def resolve_auto(config: Config, scan: DatasetIndex) -> list[str]:
    """Fill in what is `auto`, from the data and from how fast this machine computes; a line for each reason."""
    num_classes = len(scan.class_names)
    values = to_container(config) | {"dataset": asdict(build_dataset_config(config))}
    if values["dataset"]["image_size"] == AUTO and is_pretrained(config.model):
        values["dataset"]["image_size"] = required_size(config.model.backbone) or AUTO
    num_images = estimate_train_size(values, scan)
    recipe = resolve_recipe(
        values,
        scan,
        lambda values, limit: (
            tune_execution(values, num_classes, num_images, max_step_seconds=limit)[0].seconds_per_step
        ),
    )
    timing, reason = tune_execution(recipe.values, num_classes, num_images)
    set_values(
        config,
        {"dataset": recipe.values["dataset"]}
        | {resolved_value.key: resolved_value.value for resolved_value in recipe.resolved},
    )
    execution = timing.execution
    config.trainer.precision = execution.precision
    config.compute.update(memory_format=execution.memory_format, compile=execution.compile)
    return [*map(str, recipe.resolved), f"computing with {execution} ({reason})"]
