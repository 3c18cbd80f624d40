"""Tests that the defaults of `conf/model` and of the constructors agree."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from cnn_classifier.config.instantiate import import_target
from cnn_classifier.config.yaml_files import CONF_DIR
from cnn_classifier.models import MODELS

YAML_FILES = sorted(path for path in (CONF_DIR / "model").glob("*.yaml") if path.stem != "auto")  # chooses a network
DATA_ARGUMENTS = {"num_classes", "channels", "image_size"}  # provided by the dataset


def load_model_config(path: Path) -> dict[str, Any]:
    """Return the values of a YAML file without its defaults list."""
    return {str(key): value for key, value in OmegaConf.to_container(OmegaConf.load(path)).items() if key != "defaults"}


def test_model_names_are_those_of_the_yaml_files() -> None:
    assert {path.stem: load_model_config(path)["_target_"] for path in YAML_FILES} == MODELS


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.stem)
def test_yaml_values_equal_constructor_defaults(path: Path) -> None:
    config = load_model_config(path)
    parameters = inspect.signature(import_target(config.pop("_target_"))).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name not in DATA_ARGUMENTS}
    assert inspect.Parameter.empty not in defaults.values()
    assert config.keys() == defaults.keys()
    for name, value in config.items():
        default = list(defaults[name]) if isinstance(defaults[name], tuple) else defaults[name]
        assert value in (default, "auto"), name


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.stem)
def test_only_num_classes_is_required_by_the_signature(path: Path) -> None:
    parameters = inspect.signature(import_target(load_model_config(path)["_target_"])).parameters
    assert [name for name, p in parameters.items() if p.default is inspect.Parameter.empty] == ["num_classes"]
