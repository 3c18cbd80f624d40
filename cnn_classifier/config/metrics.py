"""The names and directions of the metrics that callbacks and schedulers can monitor."""

import inspect
from collections.abc import Mapping
from typing import Any

from cnn_classifier.config.instantiate import import_target
from cnn_classifier.config.signature import did_you_mean
from cnn_classifier.errors import ConfigError

METRICS = {
    "train/loss": "min",
    "train/accuracy": "max",
    "val/loss": "min",
    "val/accuracy": "max",
    "val/f1_macro": "max",
}
MODES = ("min", "max")
# Classes that fail on a metric that is never logged; other classes may monitor metrics of their own.
MONITORING_CLASSES = ("ModelCheckpoint", "EarlyStopping", "ReduceLROnPlateau")
ACTING_CLASSES = ("EarlyStopping", "ReduceLROnPlateau")  # of these, the classes that do nothing without the metric


def get_mode(monitor: str, key: str = "monitor") -> str:
    """Return the direction of a metric.

    Args:
        monitor: The name of a metric, such as `val/accuracy`.
        key: The config key of the name, for the error message.

    Returns:
        "min" for a loss, "max" for accuracy and F1.

    Raises:
        ConfigError: If no such metric is logged.
    """
    if monitor not in METRICS:
        raise ConfigError(f"{key}={monitor} is not logged{did_you_mean(monitor, METRICS)}")
    return METRICS[monitor]


def check_monitors(values: Mapping[str, Any], *, has_val_images: bool = True) -> None:
    """Check the `monitor` and `mode` of the scheduler and of all callbacks, without importing torch.

    Args:
        values: The plain config.
        has_val_images: Whether there are images for the validation, which is known after the dataset is scanned.

    Raises:
        ConfigError: If a metric is not logged or its validation is disabled, or a mode contradicts its metric.
    """
    trainer = values["trainer"]
    is_validated = has_val_images and (trainer.get("limit_val_batches") != 0 or trainer.get("overfit_batches"))
    reason = "trainer.limit_val_batches=0 disables" if has_val_images else "there are no images for"
    callbacks = {f"callbacks.{name}": node for name, node in (values.get("callbacks") or {}).items()}
    for key, node in {"scheduler": values["scheduler"], **callbacks}.items():
        if not isinstance(node, Mapping) or node.get("monitor") is None:
            continue
        class_name = str(node.get("_target_")).rpartition(".")[2]
        if class_name in MONITORING_CLASSES:
            get_mode(node["monitor"], f"{key}.monitor")
        if not is_validated and class_name in ACTING_CLASSES and node["monitor"].startswith("val/"):
            raise ConfigError(
                f"{reason} the validation that {key}.monitor={node['monitor']} requires"
                f"{'; remove one of them, or' if has_val_images else ', see dataset.val_fraction;'} use "
                f"{key}.monitor=train/loss"
            )
        check_mode(node, key)


def check_mode(node: Mapping[str, Any], key: str) -> None:
    """Check that the `mode` of a config node does not contradict the metric that it monitors.

    Args:
        node: The plain config of a callback or scheduler.
        key: The key of the node, for the error message, such as `callbacks.best`.

    Raises:
        ConfigError: If `mode` is "min" for a metric that should increase, or "max" for one that should decrease.
    """
    monitor, mode = node.get("monitor"), node.get("mode")
    if monitor in METRICS and mode in MODES and mode != METRICS[monitor]:
        raise ConfigError(
            f"{key}.mode={mode} contradicts {key}.monitor={monitor}: expected {METRICS[monitor]}; "
            f"remove the override of {key}.mode, since the direction follows from the name of the metric"
        )


def resolve_mode(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a config node whose `mode` is the direction of its `monitor`.

    Nodes without a `monitor`, with a metric that is not in `METRICS`, or whose class has no `mode` stay as they are,
    except that `mode: null` is removed: callbacks of the user may monitor metrics of their own.

    Args:
        node: The plain config of a callback or scheduler, with `_target_`.
        key: The key of the node, for error messages, such as `callbacks.best`.

    Raises:
        ConfigError: If the node contains the opposite mode.
    """
    check_mode(node, key)
    others = {name: value for name, value in node.items() if name != "mode" or value is not None}
    monitor = node.get("monitor")
    if "mode" in others or monitor not in METRICS or not has_mode(str(node.get("_target_"))):
        return others
    return others | {"mode": get_mode(monitor)}


def resolve_modes(nodes: Mapping[str, Mapping[str, Any] | None], group: str) -> dict[str, Any]:
    """Resolve the `mode` of every node of a config group; see `resolve_mode`.

    Args:
        nodes: The plain config of each callback, by name; `None` for one that is disabled.
        group: The name of the group, for error messages, such as `callbacks`.
    """
    return {name: node and resolve_mode(node, f"{group}.{name}") for name, node in nodes.items()}


def has_mode(target: str) -> bool:
    """Return whether the constructor of a class accepts `mode`, directly or through the `**kwargs` of a subclass."""
    cls = import_target(target)
    for base in inspect.getmro(cls) if inspect.isclass(cls) else ():
        parameters = inspect.signature(base).parameters
        if "mode" in parameters:
            return True
        if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return False
    return False
