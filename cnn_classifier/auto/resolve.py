"""Resolution of the starting point of a run and of all `auto` values that do not need decoded images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnn_classifier.auto.budget import shorten_budget
from cnn_classifier.auto.dataset_stats import estimate_train_size, expects_val_images
from cnn_classifier.auto.execution import tune_execution
from cnn_classifier.auto.flips import FLIP_KEY, FlipDecision, measure_flips
from cnn_classifier.auto.memory import split_batches
from cnn_classifier.auto.presets import list_image_sizes
from cnn_classifier.auto.recipe import resolve_recipe
from cnn_classifier.auto.resolved import ResolvedValue
from cnn_classifier.config.compose import Config, set_values, to_container
from cnn_classifier.config.metrics import check_monitors
from cnn_classifier.config.unused import list_unused
from cnn_classifier.data import AUTO
from cnn_classifier.data.checks.suggestions import has_mirrored_classes
from cnn_classifier.data.config import TABLE_SUFFIXES, as_list
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.models.backbones import check_sizes, required_size
from cnn_classifier.models.validation import PRETRAINED_TARGET
from cnn_classifier.training.build import build_dataset_config, build_transforms
from cnn_classifier.training.devices import release_memory
from cnn_classifier.training.distributed import broadcast_from_rank_zero, get_rank
from cnn_classifier.training.resume import apply_resume
from cnn_classifier.training.status import check_new_run_dir, check_outside_dataset


def resolve_config(config: Config, index: DatasetIndex, overrides: Sequence[str] = ()) -> tuple[Path | None, list[str]]:
    """Resolve `resume` and all `auto` values on rank 0 and broadcast them.

    Returns:
        The checkpoint to resume from, if any, and a line for each override without an effect and each resolved value.

    Raises:
        ConfigError: If the run directory of a new run holds something else, or a value is invalid.
    """

    def resolve_on_rank_zero() -> tuple[Path | None, list[str], dict[str, Any]]:
        ckpt_path, run_dir = apply_resume(config), Path(config.run_dir)
        if ckpt_path is None and not config.sweep.name:  # a sweep numbers the directories of its jobs
            check_new_run_dir(run_dir)
        if ckpt_path is None and not is_table(config.dataset):
            check_outside_dataset(run_dir, index)
        check_monitors(to_container(config), has_val_images=expects_val_images(build_dataset_config(config), index))
        unused = list_unused(to_container(config), overrides, index)
        return ckpt_path, [*unused, *resolve_auto(config, index)], to_container(config)

    ckpt_path, reasons, values = broadcast_from_rank_zero(resolve_on_rank_zero)
    if get_rank() > 0:
        set_values(config, values)
    return ckpt_path, reasons


def is_table(dataset: Config) -> bool:
    """Return whether a CSV file lists the images of a dataset, so that other images beside them do not matter."""
    paths = [dataset.get("root"), *as_list(to_container(dataset.get("source")))]
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
    backbone_sizes = resolve_backbone_sizes(values)
    num_images = estimate_train_size(values, index)
    values["budget"] = shorten_budget(values["budget"], values["trainer"]["max_time"], num_images)

    def measure_step_seconds(candidate: Mapping[str, Any], limit: float) -> float:
        return tune_execution(candidate, num_classes, num_images, max_step_seconds=limit)[0].seconds_per_step

    recipe = resolve_recipe(values, index, measure_step_seconds)
    timing, reason = tune_execution(recipe.values, num_classes, num_images)
    execution = timing.execution
    is_configured = values["dataset"]["batch_size"] != AUTO
    parts = [] if is_configured else split_batches(recipe.values, num_classes, execution.precision)
    release_memory()
    # The probability of flips is a guess, which `resolve_flips` replaces.
    replaced = {FLIP_KEY, *(item.key for item in parts)}
    resolved = [*(item for item in recipe.resolved if item.key not in replaced), *parts]
    set_values(config, {"dataset": recipe.values["dataset"]} | {item.key: item.value for item in resolved})
    config.trainer.precision = execution.precision
    config.compute.update(memory_format=execution.memory_format, compile=execution.compile)
    return [*map(str, [*backbone_sizes, *resolved]), f"execution: {execution} ({reason})"]


def resolve_backbone_sizes(values: dict[str, Any]) -> list[ResolvedValue]:
    """Set the image sizes of a backbone that requires one size, and check the sizes that the user set.

    Args:
        values: The plain configuration, which is modified.

    Returns:
        The values that were set.

    Raises:
        ConfigError: If the backbone does not accept images of a size.
    """
    model, dataset = values["model"], values["dataset"]
    if model["_target_"] != PRETRAINED_TARGET:
        return []
    resolved, name = [], model["backbone"]
    if size := required_size(name, list_image_sizes(model)):
        for key, value in (("image_size", size), ("train_sizes", None)):
            if dataset[key] == AUTO:
                dataset[key] = value
                resolved.append(ResolvedValue(f"dataset.{key}", value, f"{name} requires one image size"))
    if dataset["image_size"] != AUTO:
        train_sizes = dataset["train_sizes"] if isinstance(dataset["train_sizes"], list) else []
        check_sizes(name, dataset["image_size"], train_sizes)
    return resolved


def resolve_flips(config: Config, datamodule: ImageFolderDataModule, *, is_resumed: bool = False) -> list[str]:
    """Resolve the probability of flips from the decoded images, and compare one that the user set with them.

    Args:
        config: The configuration, which is modified.
        datamodule: The prepared data, whose transforms are replaced.
        is_resumed: Whether the configuration is that of an earlier run, which has measured the images.

    Returns:
        The resolved value with its reason, or a warning if mirror images that the user asked for change the class.
    """
    flip = to_container(config.augment).get("flip") or {}
    probability = flip.get("p", 0)
    if probability != AUTO and (is_resumed or not (probability or config.test_time_flip)):
        return []
    prepared = datamodule.prepared

    def measure() -> FlipDecision:
        return measure_flips(
            prepared.store,
            datamodule.splits["train"],
            datamodule.class_names,
            mirrored_groups=prepared.summary["mirrored_conflicts"] if has_mirrored_classes(prepared.summary) else 0,
        )

    decision, messages = broadcast_from_rank_zero(measure), []
    if probability == AUTO:
        set_values(config, {FLIP_KEY: decision.probability})
        datamodule.transforms = build_transforms(config)
        messages = [str(decision.value)]
    if decision.changes_class:
        used = [f"{FLIP_KEY}={probability}"] if probability not in (AUTO, 0) else []
        used += ["test_time_flip=true"] if config.test_time_flip else []
        messages += [
            f"warning: {option} mirrors images, which changes their class: {decision.reason}" for option in used
        ]
    return messages
