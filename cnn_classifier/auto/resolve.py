"""Resolution of the starting point of a run and of all `auto` values that do not need decoded images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from cnn_classifier.auto.budget import Budget, get_seconds, has_budget, plan_epochs
from cnn_classifier.auto.dataset_stats import compute_stats, expects_val_images
from cnn_classifier.auto.execution import measure_inference, tune_execution
from cnn_classifier.auto.flips import FLIP_KEY, measure_flips
from cnn_classifier.auto.initial_weights import resolve_weights
from cnn_classifier.auto.memory import split_batches
from cnn_classifier.auto.presets import list_image_sizes
from cnn_classifier.auto.recipe import compute_max_epochs, resolve_recipe
from cnn_classifier.auto.resolved import ResolvedValue
from cnn_classifier.auto.stages import choose_backbone
from cnn_classifier.config.compose import Config, set_values, to_container
from cnn_classifier.config.metrics import check_monitors
from cnn_classifier.config.unused import list_unused
from cnn_classifier.data import AUTO
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.loading.epochs import BudgetPlan
from cnn_classifier.data.sources.index import DatasetIndex, is_table
from cnn_classifier.files import STAGES_FILE
from cnn_classifier.models.backbones import check_sizes, required_size
from cnn_classifier.models.validation import PRETRAINED_TARGET
from cnn_classifier.training.build import build_dataset_config, build_transforms
from cnn_classifier.training.devices import release_memory
from cnn_classifier.training.distributed import broadcast_from_rank_zero, get_rank
from cnn_classifier.training.resume import apply_resume
from cnn_classifier.training.status import check_new_run_dir, check_outside_dataset


class Resolution(NamedTuple):
    """The values that a run starts with, besides those of its configuration.

    Args:
        reasons: A line for each override without an effect and each resolved value.
        plan: The plan for the budget; None for runs whose length does not depend on it.
        ckpt_path: The checkpoint to resume from, if any.
    """

    reasons: list[str]
    plan: BudgetPlan | None = None
    ckpt_path: Path | None = None


def resolve_config(
    config: Config, index: DatasetIndex, overrides: Sequence[str] = (), start_time: float | None = None
) -> Resolution:
    """Resolve `resume` and all `auto` values on rank 0 and broadcast them.

    Args:
        config: The configuration, which is modified.
        index: The index of the dataset.
        overrides: The command-line overrides.
        start_time: The start of the command in seconds since the epoch, now by default.

    Raises:
        ConfigError: If the run directory of a new run holds something else, or a value is invalid.
    """

    def resolve() -> Resolution:
        ckpt_path, run_dir = apply_resume(config), Path(config.run_dir)
        is_repeated = config.resume is not None and (run_dir / STAGES_FILE).is_file()
        if ckpt_path is None and not config.sweep.name and not is_repeated:  # a sweep numbers the directories
            check_new_run_dir(run_dir)
        if ckpt_path is None and not is_table(to_container(config.dataset)):
            check_outside_dataset(run_dir, index)
        check_monitors(to_container(config), has_val_images=expects_val_images(build_dataset_config(config), index))
        lines = list_unused(to_container(config), overrides, index)
        if config.model._target_ == AUTO:
            lines.append(choose_backbone(config))
        if config.model._target_ == AUTO:
            return Resolution(lines, None, ckpt_path)
        reasons, plan, _ = resolve_auto(config, index, start_time=start_time, is_resumed=ckpt_path is not None)
        return Resolution([*lines, *reasons], plan, ckpt_path)

    return resolve_on_rank_zero(config, resolve)


def resolve_on_rank_zero(config: Config, resolve: Callable[[], Resolution]) -> Resolution:
    """Call a function that modifies the configuration on rank 0, and broadcast its result and the configuration."""
    resolution, values = broadcast_from_rank_zero(lambda: (resolve(), to_container(config)))
    if get_rank() > 0:
        set_values(config, values)
    return resolution


def resolve_auto(
    config: Config,
    index: DatasetIndex,
    budget: Budget | None = None,
    *,
    start_time: float | None = None,
    is_resumed: bool = False,
) -> Resolution:
    """Replace `auto` values in a configuration, from the dataset and from the speed of this machine.

    Args:
        config: The configuration, which is modified.
        index: The index of the dataset.
        budget: The budget, by default that of the configuration.
        start_time: The start of the command in seconds since the epoch, now by default.
        is_resumed: Whether the run continues from a checkpoint, so that its initial weights are not needed.

    Raises:
        ConfigError: If the model cannot be built, or a value is invalid.
    """
    num_classes = len(index.class_names)
    initial_weights = [] if is_resumed else resolve_weights(config, index.class_names)
    values = to_container(config) | {"dataset": asdict(build_dataset_config(config))}
    backbone_sizes = resolve_backbone_sizes(values)
    stats = compute_stats(values, index)
    if budget is None:  # the jobs of a sweep do not depend on the clock
        clock_start = None if values["sweep"]["name"] else start_time or time.time()
        budget = Budget(get_seconds(values, stats.num_images), clock_start)

    def measure_step_seconds(candidate: Mapping[str, Any], limit: float) -> float:
        return tune_execution(candidate, num_classes, stats.num_images, max_step_seconds=limit)[0].seconds_per_step

    recipe = resolve_recipe(values, index, stats, measure_step_seconds, budget)
    timing, reason = tune_execution(recipe.values, num_classes, stats.num_images)
    execution, plan = timing.execution, None
    if budget.start_time is not None and has_budget(values):
        inference_seconds = measure_inference(recipe.values, num_classes)
        max_epochs = compute_max_epochs(recipe, stats.num_images)
        plan = plan_epochs(recipe, stats, budget, max_epochs, timing.seconds_per_step, inference_seconds)
    is_configured = values["dataset"]["batch_size"] != AUTO
    parts = [] if is_configured else split_batches(recipe.values, num_classes, execution.precision)
    release_memory()
    # The probability of flips is a guess, which `resolve_flips` replaces.
    replaced = {FLIP_KEY, *(item.key for item in parts)}
    resolved = [*(item for item in recipe.resolved if item.key not in replaced), *parts]
    set_values(config, {"dataset": recipe.values["dataset"]} | {item.key: item.value for item in resolved})
    config.trainer.precision = execution.precision
    config.compute.update(memory_format=execution.memory_format, compile=execution.compile)
    lines = [*initial_weights, *map(str, [*backbone_sizes, *resolved]), f"execution: {execution} ({reason})"]
    return Resolution(lines, plan)


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
    arguments = (prepared.store, datamodule.splits["train"], datamodule.class_names, prepared.summary)
    decision, messages = broadcast_from_rank_zero(lambda: measure_flips(*arguments)), []
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
