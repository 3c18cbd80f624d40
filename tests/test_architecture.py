"""Guards of the design: imports go one way, torch comes late, every YAML fits its class, files stay small."""

import ast
import subprocess
import sys
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
from cnn_classifier.config.paths import CONF_DIR
from cnn_classifier.config.signature import check_signature
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.training.trainer import NON_LIGHTNING_KEYS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cnn_classifier"
# A module imports from its own layer and the layers below it, never from a layer above.
LAYERS = [
    ["__main__", "cli"],
    ["sweep", "serve"],
    ["train"],
    ["export"],
    ["inference"],
    ["auto"],
    ["training"],
    ["config"],
    ["models", "report"],
    ["data"],
    ["files", "errors", "lightning_internals"],
]
TORCH_FREE = [
    "cli", "commands", "train_help", "commands.data", "config", "build", "checks", "errors", "recipe",
    "budget", "settled", "storage", "sweep.command", "sweep.job", "sweep.leaderboard", "sweep.search",
    "sweep.pool", "status", "ranks", "signals", "models.checks", "report.write", "report.page",
    "report.data_page", "report.report_page", "report.comparison", "report.compare_page", "environment",
    "predictor", "evaluate", "sorting", "card", "engines.onnx", "engines.find",
    "serve.app", "serve.server", "serve.bundle",
]  # fmt: skip
WITH_TORCH = ["data.augment", "data.datamodule", "data.loader", "data.resident", "data.transforms"]
# What the spine adds to the values of a YAML.
GIVEN = {
    "model": {"num_classes": 2, "channels": 3, "image_size": 128},
    "optimizer": {"params": []},
    "scheduler": {"optimizer": None},
}
NOT_ARGUMENTS = {"scheduler": {"warmup_epochs", "monitor", "total_steps"}}
YAML_FILES = sorted(path for path in CONF_DIR.rglob("*.yaml") if path.parent != CONF_DIR)


def modules() -> dict[str, Path]:
    names = {
        path: path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for path in PACKAGE.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for path, name in names.items() if name != "__init__"}


def layer_of(module: str) -> int:
    rows = [row for row, names in enumerate(LAYERS) for name in names if module == name]
    assert rows or "." in module, f"{module} has no row"
    return rows[0] if rows else layer_of(module.rpartition(".")[0])


def imported(path: Path) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {
        node.module.removeprefix("cnn_classifier.")
        for node in nodes
        if (node.module or "").startswith("cnn_classifier.")
    }


def test_imports_go_one_way() -> None:
    assert len(modules()) > 45
    wrong = [
        f"{module} imports {used}"
        for module, path in modules().items()
        for used in imported(path)
        if layer_of(used) < layer_of(module)
    ]
    assert wrong == []


def brings(heavy: str, names: list[str]) -> str:
    """The first of these modules whose import brings a heavy one."""
    asked = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(f"cnn_classifier.{name}")
    if sys.argv[1] in sys.modules:
        sys.exit(name)
"""
    done = subprocess.run([sys.executable, "-c", asked, heavy, *names], check=False, capture_output=True, text=True)
    return done.stderr.strip()


def test_torch_is_not_imported_by_what_answers_at_once() -> None:
    data = [name for name in modules() if name.startswith("data.") and name not in WITH_TORCH]
    assert len(data) > 20
    assert brings("torch", [*TORCH_FREE, *data]) == ""
    for heavy in ("sklearn", "scipy", "joblib"):  # each costs a second at most, but so does a check of known images
        assert brings(heavy, data) == ""
    assert brings("torch", WITH_TORCH[:1]) == WITH_TORCH[0]  # otherwise this proves nothing


def test_hydra_stays_in_the_configuration_and_the_command() -> None:
    users = [
        name
        for name, path in modules().items()
        for line in path.read_text().splitlines()
        if line.startswith(("import hydra", "from hydra", "import omegaconf", "from omegaconf"))
    ]
    assert set(users) == {"config", "sweep.command", "sweep.space"}


def test_files_stay_below_200_lines_and_functions_below_50() -> None:
    for name, path in modules().items():
        assert len(path.read_text().splitlines()) <= 200, name
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno  # docstring included
                assert lines <= 60, f"{name}.{node.name}"


def test_every_model_is_a_module_and_a_yaml_of_one_name() -> None:
    yaml = {path.stem for path in (CONF_DIR / "model").glob("*.yaml")}
    python = {path.stem for path in (PACKAGE / "models").glob("*.py")} - {
        "__init__",
        "backbones",
        "checks",
        "layers",
        "staged",
        "weights",
    }
    assert yaml == python == {"baseline", "cnn", "resnet", "pretrained"}


def test_there_are_as_many_configurations_as_we_think() -> None:
    assert len(YAML_FILES) >= 40


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_yaml_composes_and_fits_what_it_configures(path: Path) -> None:
    group = path.parent.name
    if group in ("experiment", "search"):
        load_config([f"{group}={path.stem}"], run_dir="here")
        return
    if path.parent.parent.name == "hydra":
        node = to_container(OmegaConf.load(path))
        check_signature(import_target(node.pop("_target_")), node, name=path.name)
        return
    node = without_auto(to_container(load_config([f"{group}={path.stem}"], run_dir="here")[group]))
    if group == "dataset":
        check_signature(DatasetConfig, node, name="dataset")
        return
    if group == "trainer":
        theirs = {key: value for key, value in node.items() if key not in NON_LIGHTNING_KEYS}
        check_signature(Trainer, theirs | {"precision": "32-true"}, name="trainer")
        return
    for leaf in [node] if "_target_" in node else filter(None, node.values()):
        skipped = {"_target_"} | NOT_ARGUMENTS.get(group, set())
        resolved = resolve_mode(leaf, group)
        arguments = {key: value for key, value in resolved.items() if key not in skipped} | GIVEN.get(group, {})
        check_signature(import_target(leaf["_target_"]), arguments, name=path.name, skip=GIVEN.get(group, {}))


def test_the_data_set_defaults_of_yaml_and_signature_are_the_same() -> None:
    folder = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "dataset" / "folder.yaml"))
    assert asdict(DatasetConfig()) == folder


def without_auto(node: Any) -> Any:
    """The values but for those that a recipe settles."""
    return (
        {key: without_auto(value) for key, value in node.items() if value != AUTO} if isinstance(node, dict) else node
    )
