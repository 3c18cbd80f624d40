"""The weights with which a run starts: found and checked before images are decoded, and loaded after it.

`model.weights` names pretrained weights, or an earlier run, `model.weights=outputs/first`: its network, normalization
and weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from cnn_classifier.auto.resolved import ResolvedValue
from cnn_classifier.config.compose import Config, set_values, to_container
from cnn_classifier.config.instantiate import instantiate_model, takes_weights
from cnn_classifier.config.unused import with_dataset_defaults
from cnn_classifier.data import AUTO
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.models import MODELS
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.models.state_dicts import load_backbone
from cnn_classifier.models.validation import PRETRAINED_TARGET
from cnn_classifier.models.warm_start import copy_weights, describe_classes, suggest_arguments
from cnn_classifier.models.weights import IMAGENET, WeightsUnavailableError, require_weights
from cnn_classifier.training.checkpoints import check_checkpoint_exists, find_checkpoint, read_checkpoint
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.resume import check_same_hparams

ARCHITECTURE_KEYS = ("widths", "stem_stride")  # arguments of networks that may be `auto`


def resolve_weights(config: Config, class_names: Sequence[str]) -> list[str]:
    """Find the weights that a new run starts from, and set the `auto` values that depend on them.

    Pretrained weights are downloaded, if necessary. The architecture, the image size and the normalization follow an
    earlier run. The weights are loaded into a network that is not used, so that errors are raised before images are
    decoded.

    Args:
        config: The configuration, which is modified.
        class_names: The classes of the run.

    Returns:
        A line for each resolved value.

    Raises:
        ConfigError: If there are no pretrained weights, or the network cannot have any.
        CheckpointError: If a file is missing or damaged, or has the weights of another network.
    """
    model = to_container(config.model)
    weights = model.get("weights")
    if weights is None:
        return []
    if checkpoint := read_previous(model):
        return follow_previous(config, checkpoint, class_names)
    if model["_target_"] != PRETRAINED_TARGET:
        return []  # the constructor of the network interprets the value
    image_size = config.dataset.get("image_size", AUTO)
    try:
        source = require_weights(model["backbone"], weights)
        load_backbone(source, None if image_size == AUTO else image_size)
    except WeightsUnavailableError as error:
        if weights != AUTO:
            raise
        set_values(config, {"model.weights": None})
        return [f"warning: training from scratch: {error}"]
    if weights != AUTO:
        return [] if source.kind == "file" else [source.description]
    set_values(config, {"model.weights": IMAGENET})
    return [str(ResolvedValue("model.weights", IMAGENET, source.description))]


def init_weights(module: ImageClassifier, checkpoint: Path | None) -> None:
    """Check that the weights of a checkpoint fit the module; without a checkpoint, load the initial weights.

    Args:
        module: The module to train.
        checkpoint: The path of the checkpoint to resume from, None for a new run.

    Raises:
        CheckpointError: If the checkpoint has other hyperparameters, or the initial weights cannot be loaded.
    """
    if checkpoint is not None:
        check_same_hparams(checkpoint, module.hparams)
        return
    hparams, network = module.hparams, module.network
    if previous := read_previous(hparams["model"]):
        copy_previous(network, previous, hparams["model"], module.class_names, **get_shape(hparams))
    elif isinstance(network, FineTunable):
        network.load_weights()


def copy_previous(
    network: nn.Module,
    checkpoint: Mapping[str, Any],
    model: Mapping[str, Any],
    class_names: Sequence[str],
    **shape: Any,
) -> str:
    """Copy the weights of the checkpoint of an earlier run into a network.

    Args:
        network: The network, which is modified.
        checkpoint: The content of the checkpoint.
        model: `_target_` and arguments of the network.
        class_names: The classes of the network.
        shape: The channels and the size of the images.

    Returns:
        A line about the classes that are copied, new and dropped.

    Raises:
        CheckpointError: If the networks differ.
    """
    hparams, prefix = checkpoint["hyper_parameters"], "network."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    previous_names = list(hparams["class_names"] or map(str, range(hparams["num_classes"])))
    wider = instantiate_model(model, num_classes=len(class_names) + 1, **shape)
    try:
        copy_weights(network, weights, wider=wider, class_names=class_names, previous_names=previous_names)
    except CheckpointError as error:
        raise CheckpointError(
            f"model.weights={model['weights']} has a network of another shape: {error}; "
            f"{suggest_arguments(hparams, {'model': model, **shape})}"
        ) from error
    return f"starting from {model['weights']}: {describe_classes(class_names, previous_names)}"


def get_shape(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the channels and the size of the images, which are arguments of networks."""
    return {key: values[key] for key in ("channels", "image_size")}


def read_previous(model: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the checkpoint of the earlier run that `weights` of a network names, None for other weights.

    Raises:
        CheckpointError: If it is missing or damaged, or is not a checkpoint although the network needs one.
    """
    weights, is_argument = model.get("weights"), model["_target_"] == AUTO or takes_weights(model)
    is_name = weights in (AUTO, IMAGENET)
    if is_name and not is_argument:
        raise ConfigError(
            f"model.weights={weights}: {model['_target_']} has no pretrained weights; use model=pretrained, or give an "
            "earlier run such as model.weights=outputs/first"
        )
    path = Path(str(weights)).expanduser()
    is_interpreted = is_argument and model["_target_"] not in (AUTO, PRETRAINED_TARGET)  # by a network of the user
    if weights is None or is_name or (is_interpreted and not path.exists()):
        return None
    path = find_checkpoint(path) if (is_dir := path.is_dir()) else path
    check_checkpoint_exists(path, "a run directory or a checkpoint" + ", or a file of weights" * is_argument)
    try:
        return read_checkpoint(path)
    except CheckpointError:
        if is_dir or not is_argument:
            raise
        return None  # a file of weights, which the network reads


def follow_previous(config: Config, checkpoint: Mapping[str, Any], class_names: Sequence[str]) -> list[str]:
    """Set `auto` values and the normalization to those of an earlier run, and check that its weights fit.

    Returns:
        A line for each value, and one about the classes.

    Raises:
        CheckpointError: If the earlier run has another network or other channels.
    """
    hparams, weights = checkpoint["hyper_parameters"], config.model.weights
    model, dataset = to_container(config.model), with_dataset_defaults(to_container(config))["dataset"]
    check_same_network(hparams, model, dataset["channels"])
    preprocess = hparams["preprocess"] or {"image_size": hparams["image_size"]}
    architecture = {key: hparams["model"].get(key) for key in ARCHITECTURE_KEYS if model.get(key) == AUTO}
    resolved = {f"model.{key}": value for key, value in architecture.items() if value is not None}
    for key in ("image_size", "mean", "std", "value_range"):
        if dataset[key] in (AUTO, None) and preprocess.get(key) is not None:
            dataset[key] = resolved[f"dataset.{key}"] = preprocess[key]
    set_values(config, {"dataset": dataset} | resolved)
    # Other `auto` values, such as dropout, do not change the weights.
    model = {key: hparams["model"].get(key) if value == AUTO else value for key, value in model.items()}
    network = instantiate_model(model, num_classes=len(class_names), **get_shape(dataset))
    classes = copy_previous(network, checkpoint, model, class_names, **get_shape(dataset))
    return [*(str(ResolvedValue(key, value, f"as in {weights}")) for key, value in resolved.items()), classes]


def check_same_network(hparams: Mapping[str, Any], model: Mapping[str, Any], channels: int) -> None:
    """Raise `CheckpointError` if an earlier run has another class of network or other channels."""
    weights, target = model["weights"], hparams["model"]["_target_"]
    if target != model["_target_"]:
        name = {target: name for name, target in MODELS.items()}.get(target)
        hint = f"model={name}" if name else f"model._target_={target}"
        raise CheckpointError(
            f"model.weights={weights} is a {target}, this run trains a {model['_target_']}: set {hint}"
        )
    if hparams["channels"] != channels:
        raise CheckpointError(
            f"model.weights={weights} has {hparams['channels']} channels, this run {channels}: set "
            f"dataset.channels={hparams['channels']}"
        )
