"""Guards of the configuration: every YAML file composes and matches the signature of its class."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from cnn_classifier.auto.recipe import AUTO
from cnn_classifier.config.compose import load_config, to_container
from cnn_classifier.config.instantiate import import_target
from cnn_classifier.config.metrics import resolve_mode
from cnn_classifier.config.signature import check_signature
from cnn_classifier.config.yaml_files import CONF_DIR
from cnn_classifier.data.config import DatasetConfig

PACKAGE = Path(__file__).parent.parent / "cnn_classifier"
# The arguments that code adds to the values of a YAML file.
ADDED_ARGUMENTS = {
    "model": {"num_classes": 2, "channels": 3, "image_size": 128},
    "optimizer": {"params": []},
    "scheduler": {"optimizer": None},
}
# The keys of a YAML file that are not arguments of its class.
EXTRA_KEYS = {"scheduler": {"warmup_epochs", "monitor", "total_steps", "T_max"}}
YAML_FILES = sorted(path for path in CONF_DIR.rglob("*.yaml") if path.parent != CONF_DIR)
# The modules of `models/` that are not an architecture.
SHARED_MODEL_MODULES = {
    "__init__",
    "backbones",
    "ensemble",
    "feature_bank",
    "finetuning",
    "layers",
    "state_dicts",
    "validation",
    "warm_start",
    "weight_files",
    "weights",
}


def remove_auto(node: Any) -> Any:
    """Return the node without the values that `auto/` resolves."""
    return {key: remove_auto(value) for key, value in node.items() if value != AUTO} if isinstance(node, dict) else node


def test_model_architectures_have_a_module_and_a_yaml_file_of_the_same_name() -> None:
    yaml_names = {path.stem for path in (CONF_DIR / "model").glob("*.yaml")} - {"auto"}  # chooses one of the others
    module_names = {path.stem for path in (PACKAGE / "models").glob("*.py")} - SHARED_MODEL_MODULES

    assert yaml_names == module_names == {"baseline", "cnn", "resnet", "pretrained"}


def test_yaml_files_are_found_in_all_groups() -> None:
    assert len(YAML_FILES) >= 40


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_yaml_file_composes_and_matches_the_signature_of_its_class(path: Path) -> None:
    group = path.parent.name
    if group in ("experiment", "search"):
        load_config([f"{group}={path.stem}"], run_dir="run")
        return
    if path.parent.parent.name == "hydra":
        node = to_container(OmegaConf.load(path))
        check_signature(import_target(node.pop("_target_")), node, name=path.name)
        return
    options = [f"{group}={path.stem}", "trainer.max_epochs=20"]
    node = remove_auto(to_container(load_config(options, run_dir="run")[group]))
    if group == "dataset":
        check_signature(DatasetConfig, node, name="dataset")
        return
    if group == "trainer":
        check_signature(Trainer, node, name="trainer")
        return
    for leaf in [node] if "_target_" in node else filter(lambda value: isinstance(value, dict), node.values()):
        excluded = {"_target_"} | EXTRA_KEYS.get(group, set())
        added = ADDED_ARGUMENTS.get(group, {})
        arguments = {key: value for key, value in resolve_mode(leaf, group).items() if key not in excluded} | added
        check_signature(import_target(leaf["_target_"]), arguments, name=path.name, skip=added)


def test_dataset_defaults_of_yaml_and_signature_are_equal() -> None:
    folder: Any = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "dataset" / "folder.yaml"))
    del folder["defaults"]

    assert asdict(DatasetConfig()) == folder
