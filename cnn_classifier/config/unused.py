"""Options without an effect: most are errors before the data is read, others are reported when training starts."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from cnn_classifier.config.instantiate import check_supported, import_target, takes_weights
from cnn_classifier.config.overrides import OWN_KEYS, given_keys
from cnn_classifier.config.signature import check_signature
from cnn_classifier.data import AUTO
from cnn_classifier.data.config import TABLE_SUFFIXES, DatasetConfig, as_list
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError

SINGLE_COMPONENTS = ("model", "optimizer", "scheduler")  # groups that are one object
COMPONENT_DICTS = ("augment", "callbacks", "logger")  # groups of named objects
COMPONENT_GROUPS = (*SINGLE_COMPONENTS, *COMPONENT_DICTS)
# Arguments that `train` sets, which override those of the config, and the reason.
SET_BY_TRAIN = {
    "model.num_classes": "it is the number of classes in the data",
    "model.channels": "use dataset.channels",
    "model.in_chans": "use dataset.channels",
    "model.image_size": "use dataset.image_size",
    "optimizer.params": "all weights are optimized",
    "scheduler.optimizer": "use the group optimizer",
}


def check_components(values: Mapping[str, Any], groups: Collection[str]) -> None:
    """Check the names and types of the arguments of components, which imports their classes.

    Args:
        values: The config as plain data.
        groups: The groups to check.

    Raises:
        ConfigError: If a class has no such argument, its type is wrong, or `train` sets the argument itself.
    """
    for key, node in find_components(values):
        if key.partition(".")[0] not in groups:
            continue
        for name in node:
            if reason := SET_BY_TRAIN.get(f"{key}.{name}"):
                raise ConfigError(f"{key}.{name}={node[name]} has no effect, because train sets it: {reason}")
        check_supported(node)
        own_keys: tuple[str, ...] = OWN_KEYS if key == "scheduler" else ()
        if key == "model" and not takes_weights(node):  # `auto/initial_weights.py` reads it
            own_keys = ("weights",)
        arguments = {name: value for name, value in node.items() if name not in ("_target_", *own_keys)}
        resolved_later = {name for name, value in arguments.items() if value in (AUTO, None) or contains_target(value)}
        target = import_target(str(node["_target_"]))
        check_signature(target, arguments, name=f"{key} ({node['_target_']})", skip=resolved_later)
        steps_by_metric = "metrics" in inspect.signature(getattr(target, "step", target)).parameters
        if key == "scheduler" and node.get("monitor") is not None and not steps_by_metric:
            raise ConfigError(
                f"scheduler.monitor={node['monitor']} has no effect: {node['_target_']} does not depend on a metric; "
                "remove it, or use scheduler=plateau"
            )


def find_components(values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the key and the node of every component that is not `auto`, and of the components within its arguments."""
    nodes = {group: values.get(group) for group in SINGLE_COMPONENTS}
    for group in COMPONENT_DICTS:
        nodes |= {f"{group}.{name}": node for name, node in (values.get(group) or {}).items()}
    pending = list(nodes.items())
    for key, node in pending:
        if isinstance(node, Mapping):
            if node.get("_target_", AUTO) != AUTO:
                yield key, node
            pending += [(f"{key}.{name}", value) for name, value in node.items()]
        elif isinstance(node, list):
            pending += [(f"{key}[{number}]", value) for number, value in enumerate(node)]


def contains_target(value: Any) -> bool:
    """Return whether a value is or contains a component."""
    return any(True for _ in find_components({"augment": {"value": value}}))


def check_conflicts(values: Mapping[str, Any], given: Collection[str]) -> None:
    """Check that no given option is without an effect because of another one.

    Args:
        values: The config as plain data.
        given: The keys that overrides set; the values of options such as `dataset=cats_dogs` may be without an effect.

    Raises:
        ConfigError: If an option is without an effect.
    """
    values = with_dataset_defaults(values)
    for keys, is_unused, reason in CONFLICTS:
        for key in keys:
            group, _, name = key.partition(".")
            if key in given and values[group].get(name) is not None and is_unused(values):
                raise ConfigError(f"{key}={values[group][name]} has no effect: {reason}")
    trainer = values.get("trainer") or {}
    min_epochs, max_epochs = trainer.get("min_epochs"), trainer.get("max_epochs")
    if isinstance(min_epochs, int) and isinstance(max_epochs, int) and 0 < max_epochs < min_epochs:
        raise ConfigError(
            f"trainer.min_epochs={min_epochs} has no effect: training ends after trainer.max_epochs={max_epochs}"
        )


def list_unused(values: Mapping[str, Any], overrides: Sequence[str], index: DatasetIndex) -> list[str]:
    """Return a line for each given option that has no effect in this run, although it may have one in another.

    Args:
        values: The config as plain data, before its `auto` values are resolved.
        overrides: The overrides that were given.
        index: The images, which may be split already.
    """
    values = with_dataset_defaults(values)
    given, given_splits = given_keys(overrides), {sample.split for sample in index.samples}
    dataset, trainer, lines = values["dataset"], values["trainer"], []
    lengths = [f"trainer.{name}" for name in ("max_epochs", "max_steps") if trainer.get(name) not in (None, -1)]
    if "budget" in given and lengths:
        lines.append(f"budget={values['budget']} does not limit this run: {lengths[0]} determines its length")
    for split in ("val", "test"):
        if f"dataset.{split}_fraction" in given and split in given_splits:
            fraction = dataset[f"{split}_fraction"]
            lines.append(f"dataset.{split}_fraction={fraction} is not used: the dataset has a {split} split")
    if "dataset.split_seed" in given and {"val", "test"} <= given_splits and not dataset["max_per_class"]:
        lines.append(f"dataset.split_seed={dataset['split_seed']} is not used: the dataset is split already")
    if dataset["sampler"] == "balanced" and values["loss"].get("class_weights") == "balanced":
        lines.append("dataset.sampler and loss.class_weights both balance the classes: use one of them")
    if not values["sweep"]["name"]:
        lines += [f"{key} is not used: add -m for a search" for key in sorted(given & SWEEP_KEYS)]
    return lines


def with_dataset_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with all dataset options; a YAML file of your own may contain only the name and the root."""
    defaults = {field.name: field.default for field in fields(DatasetConfig)}
    return {**values, "dataset": defaults | dict(values["dataset"])}


def is_local(values: Mapping[str, Any]) -> bool:
    """Return whether nothing is downloaded."""
    dataset = values["dataset"]
    return bool(dataset["root"] or dataset["train_dir"]) or not any(
        "://" in source for source in as_list(dataset["source"])
    )


def has_no_archive(values: Mapping[str, Any]) -> bool:
    """Return whether the images are in folders or listed in a CSV file."""
    dataset = values["dataset"]
    sources = [dataset["root"]] if dataset["root"] else as_list(dataset["source"])
    return bool(dataset["train_dir"]) or all(
        source == "digits" or source.lower().endswith(TABLE_SUFFIXES) or Path(source).expanduser().is_dir()
        for source in sources
    )


SPLIT_OPTIONS = ("folds", "val_fraction", "test_fraction", "split_seed", "max_per_class", "group_pattern")
SWEEP_KEYS = {"search", "sweep.storage", "sweep.study"}
# Keys, the condition under which they have no effect, and the reason with the fix.
CONFLICTS: list[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Any], str]] = [
    (("dataset.checksum", "dataset.mirror"), is_local, "nothing is downloaded; give the URL with dataset.source"),
    (
        ("dataset.zip_encoding",),
        lambda values: values["dataset"]["zip_encoding"] != AUTO and has_no_archive(values),
        "the images are not in an archive; remove it",
    ),
    (("dataset.fold",), lambda v: v["dataset"]["folds"] is None, "set the number of folds, such as dataset.folds=5"),
    (
        tuple(f"dataset.{key}" for key in SPLIT_OPTIONS),
        lambda values: values["dataset"]["split_file"] is not None,
        "dataset.split_file determines the split; remove one of them",
    ),
    (
        ("dataset.test_fraction",),
        lambda values: values["dataset"]["folds"] is not None,
        "dataset.folds determines the test split; remove one of them",
    ),
    (("dataset.cache_limit_gb",), lambda v: v["dataset"]["cache"] != AUTO, "it is the limit of dataset.cache=auto"),
    (
        ("dataset.max_unreadable",),
        lambda values: values["dataset"]["on_unreadable"] == "error",
        "dataset.on_unreadable=error allows no unreadable image; remove one of them",
    ),
    (
        ("model.unfreeze", "model.layer_decay"),
        lambda values: values["model"].get("freeze") == 1,
        "model.freeze=1 trains only the head; remove one of them",
    ),
    (
        ("trainer.gradient_clip_algorithm",),
        lambda values: values["trainer"].get("gradient_clip_val") is None,
        "nothing is clipped; set trainer.gradient_clip_val",
    ),
    (
        ("trainer.use_distributed_sampler",),
        lambda values: values["trainer"].get("use_distributed_sampler"),
        "the data module splits the batches between processes; remove it",
    ),
]
