"""Every key of the config has a reader, and every wrong value of a key is an error; nothing is trained."""

import ast
import copy
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

import cnn_classifier
from cnn_classifier.config.compose import check_known_keys, load_config, to_container
from cnn_classifier.config.instantiate import import_target
from cnn_classifier.config.overrides import OWN_KEYS, flatten
from cnn_classifier.config.schema import EXAMPLE_VALUES, check_type, check_values
from cnn_classifier.config.trainer import TrainerConfig
from cnn_classifier.config.unused import COMPONENT_GROUPS, check_components, find_components
from cnn_classifier.config.yaml_files import CONF_DIR
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.errors import ConfigError

GROUPS = ("model", "optimizer", "scheduler", "augment", "callbacks", "logger")
OPTIONS = [[f"{group}={path.stem}" for path in sorted((CONF_DIR / group).glob("*.yaml"))] for group in GROUPS]
COMPOSITIONS = [[], *([text for text in texts if text] for texts in zip_longest(*OPTIONS))]
FREE_KEYS = ["logger.mlflow.tags.sweep", "logger.wandb.group"]  # libraries convert any value to text
SOURCES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in Path(cnn_classifier.__file__).parent.rglob("*.py")
}


@pytest.fixture(scope="module")
def configs() -> list[dict[str, Any]]:
    return [to_container(load_config(overrides)) for overrides in COMPOSITIONS]


def test_every_key_is_an_argument_of_the_class_that_gets_it(configs: list[dict[str, Any]]) -> None:
    unread = set()
    for values in configs:
        for key, node in find_components(values):
            target = import_target(node["_target_"])
            for name in node.keys() - {"_target_", *(OWN_KEYS if key == "scheduler" else ())}:
                owner = next((cls for cls in inspect.getmro(target) if has_argument(cls, name)), None)
                is_ours = owner is not None and owner.__module__.startswith("cnn_classifier")
                if owner is None or (is_ours and name not in read_names(owner)):
                    unread.add(f"{key}.{name}")
    assert unread == {"logger.wandb.group"}  # an argument of wandb.init, which WandbLogger passes on
    assert set(configs[0]["dataset"]) == {field.name for field in fields(DatasetConfig)}
    assert set(configs[0]["trainer"]) <= {field.name for field in fields(TrainerConfig)}
    assert set(configs[0]["trainer"]) <= inspect.signature(Trainer).parameters.keys()


def has_argument(cls: type, name: str) -> bool:
    return "__init__" in vars(cls) and name in inspect.signature(vars(cls)["__init__"]).parameters


def read_names(cls: type) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(vars(cls)["__init__"])))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def test_every_key_of_dataset_and_root_is_read_outside_of_its_checks(configs: list[dict[str, Any]]) -> None:
    attributes, texts = set(), set()
    for path, tree in SOURCES.items():
        checks = {id(node) for function in ast.walk(tree) if is_check(function) for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and id(node) not in checks:
                attributes.add(node.attr)
            elif isinstance(node, ast.Constant) and path.parent.name != "config":
                texts.add(node.value)
    assert {field.name for field in fields(DatasetConfig)} <= attributes
    values = {name: node for name, node in configs[0].items() if name not in (*COMPONENT_GROUPS, "dataset", "trainer")}
    assert {key for key in flatten(values) if key.rpartition(".")[2] not in attributes | texts} == set()


def is_check(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and (node.name == "__post_init__" or node.name.startswith("check_"))


def with_value(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    *parents, last = key.split(".")
    node = changed
    for name in parents:
        node = node[name]
    node[last] = value
    return changed


def is_accepted(values: dict[str, Any], key: str, value: Any) -> bool:
    try:
        check_type(key, value, dict(leaves(values))[key])
        check_components(changed := with_value(values, key, value), COMPONENT_GROUPS)
        check_known_keys(changed, set(), "")
        check_values(changed)
    except ConfigError:
        return False
    return True


def leaves(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((key, value) for key, value in flatten(values).items() if not key.endswith("_target_"))


def test_every_key_refuses_a_mapping_of_nonsense(configs: list[dict[str, Any]]) -> None:
    config_by_key = {key: values for values in configs for key, _ in leaves(values)}
    accepted = {key for key, values in config_by_key.items() if is_accepted(values, key, {"nonsense": {"no": 1}})}
    assert sorted(accepted) == FREE_KEYS


@pytest.mark.parametrize("number", [float("nan"), float("inf"), "None"])
def test_every_number_refuses_values_that_are_not_finite(configs: list[dict[str, Any]], number: Any) -> None:
    numbers = {
        key for values in configs for key, value in leaves(values) if isinstance(EXAMPLE_VALUES.get(key, value), float)
    }
    assert {"optimizer.lr", "callbacks.ema.decay", "dataset.val_fraction", "scheduler.min_lr"} <= numbers
    for values in configs:
        for key in numbers & dict(leaves(values)).keys():
            with pytest.raises(ConfigError, match=f"{key}=.*(finite|null|wrong type)"):
                check_values(with_value(values, key, number))
