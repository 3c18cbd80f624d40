"""Resolution of the starting point of a run and of all `auto` values that do not need decoded images."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnn_classifier.auto.budget import shorten_budget
from cnn_classifier.auto.dataset_stats import estimate_train_size
from cnn_classifier.auto.execution import tune_execution
from cnn_classifier.auto.recipe import resolve_recipe
from cnn_classifier.config.compose import Config, set_values, to_container
from cnn_classifier.data import AUTO
from cnn_classifier.data.config import as_list
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import TABLE_SUFFIXES
from cnn_classifier.models.backbones import required_size
from cnn_classifier.models.validation import is_pretrained
from cnn_classifier.training.build import build_dataset_config
from cnn_classifier.training.distributed import broadcast_from_rank_zero, get_rank
from cnn_classifier.training.resume import apply_resume
from cnn_classifier.training.status import check_new_run_dir, check_outside_dataset


def resolve_config(config: Config, index: DatasetIndex) -> tuple[Path | None, list[str]]:
    """Resolve `resume` and all `auto` values on rank 0 and broadcast them.

    Returns:
        The checkpoint to resume from, if any, and a line with the reason for each resolved value.

    Raises:
        ConfigError: If the run directory of a new run holds something else, or a value is invalid.
    """

    def resolve_on_rank_zero() -> tuple[Path | None, list[str], dict[str, Any]]:
        ckpt_path, run_dir = apply_resume(config), Path(config.run_dir)
        if ckpt_path is None and not config.sweep.name:  # a sweep numbers the directories of its jobs
            check_new_run_dir(run_dir)
        if ckpt_path is None and not is_table(config.dataset):
            check_outside_dataset(run_dir, index)
        return ckpt_path, resolve_auto(config, index), to_container(config)

    ckpt_path, reasons, values = broadcast_from_rank_zero(resolve_on_rank_zero)
    if get_rank() > 0:
        set_values(config, values)
    return ckpt_path, reasons


def is_table(dataset: Config) -> bool:
    """Return whether a CSV file lists the images of a dataset, so that other images beside them do not matter."""
    paths = [dataset.root, *as_list(to_container(dataset.source))]
    return any(str(path).lower().endswith(TABLE_SUFFIXES) for path in paths)


def resolve_auto(config: Config, index: DatasetIndex) -> list[str]:
    """Replace `auto` values in a configuration, from the dataset and from the speed of this machine.

    Args:
        config: The configuration, which is modified.
        index: The index of the dataset.

    Returns:
        A line for each resolved value: `key=value (reason)`.

    Raises:
        ConfigError: If the model cannot be built, or a value is invalid.
    """
    num_classes = len(index.class_names)
    values = to_container(config) | {"dataset": asdict(build_dataset_config(config))}
    if values["dataset"]["image_size"] == AUTO and is_pretrained(config.model):
        values["dataset"]["image_size"] = required_size(config.model.backbone) or AUTO
    num_images = estimate_train_size(values, index)
    values["budget"] = shorten_budget(values["budget"], values["trainer"]["max_time"], num_images)

    def measure_step_seconds(candidate: Mapping[str, Any], limit: float) -> float:
        return tune_execution(candidate, num_classes, num_images, max_step_seconds=limit)[0].seconds_per_step

    recipe = resolve_recipe(values, index, measure_step_seconds)
    timing, reason = tune_execution(recipe.values, num_classes, num_images)
    set_values(config, {"dataset": recipe.values["dataset"]} | {item.key: item.value for item in recipe.resolved})
    execution = timing.execution
    config.trainer.precision = execution.precision
    config.compute.update(memory_format=execution.memory_format, compile=execution.compile)
    return [*map(str, recipe.resolved), f"execution: {execution} ({reason})"]
