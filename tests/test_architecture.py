"""Guards of the architecture: layout, import layers, torch-free modules, private attributes, sizes and call depth."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.training.module import ImageClassifier

PACKAGE = Path(__file__).parent.parent / "cnn_classifier"
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
FOLDERS = [PACKAGE, *{path.parent for path in MODULES.values()} - {PACKAGE}]
# From top to bottom. A module imports from its own layer and from the layers below.
LAYERS = [
    ["__main__", "cli"],
    ["sweep", "serve"],
    ["train", "run"],
    ["export"],
    ["inference"],
    ["auto"],
    ["training"],
    ["config"],
    ["models", "report"],
    ["data"],
    ["files", "errors", "progress", "lightning_internals"],
]
# Folders stand for all of their modules.
TORCH_FREE = [
    *("cli", "config", "errors", "files", "report", "sweep", "auto.recipe"),
    *(
        "data.archives",
        "data.sources",
        "data.splits",
        "data.checks",
        "data.images",
        "models.validation",
        "training.status",
    ),
    # The ONNX path of prediction, evaluation and serving.
    *("inference.predictor", "inference.evaluate", "inference.sort", "inference.metadata", "inference.backends.onnx"),
    "serve",
]
# A Lightning callback, which only the training of a search imports.
WITH_TORCH = {"sweep.pruning"}
HYDRA_USERS = r"config\..*|cli\.train|sweep\..*"
PRIVATE_ATTRIBUTES = r"\btrainer\._|\bfit_loop\b|\bepoch_loop\b|\._average_model\b|\._(data|checkpoint)_connector\b"


def layer_of(module: str) -> int:
    """Return the index of the layer of a module."""
    top = module.partition(".")[0]
    return next(index for index, names in enumerate(LAYERS) if top in names)


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Return the modules of the package that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cnn_classifier"):
            parent = (node.module or "").removeprefix("cnn_classifier").removeprefix(".")
            for alias in node.names:
                name = f"{parent}.{alias.name}".removeprefix(".")
                found.add(name if name in MODULES else parent)
    return found - {""}


def expand(names: list[str]) -> list[str]:
    """Return the modules with these names and in these folders, without those that need torch."""
    modules = [
        module for module in MODULES if module.startswith(tuple(f"{name}." for name in names)) or module in names
    ]
    return [module for module in modules if module not in WITH_TORCH]


def first_importer_of(library: str, modules: list[str]) -> str:
    """Return the first of the modules whose import also imports the library, empty if there is none."""
    program = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(f"cnn_classifier.{name}")
    if sys.argv[1] in sys.modules:
        sys.exit(name)
"""
    command = [sys.executable, "-c", program, library, *modules]
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr.strip()


def test_package_has_at_most_16_entries_and_14_modules_per_folder() -> None:
    entries = [path.name for path in PACKAGE.iterdir() if not path.name.startswith("__") and path.name != "py.typed"]
    num_modules = {
        folder.name: len([path for path in folder.glob("*.py") if not path.name.startswith("__")])
        for folder in FOLDERS
        if folder != PACKAGE / "cli"
    }

    assert len(MODULES) > 100
    assert len(set(entries) - {"cli"}) <= 16
    assert {name: count for name, count in num_modules.items() if count > 14} == {}


def test_package_has_at_most_two_folder_levels() -> None:
    assert [path for path in FOLDERS if len(path.relative_to(PACKAGE).parts) > 2] == []


def test_modules_import_only_from_their_own_and_lower_layers() -> None:
    violations = [
        f"{module} imports {name}"
        for module, path in MODULES.items()
        for name in imports_of(path)
        if layer_of(name) < layer_of(module)
    ]

    assert violations == []


def test_modules_have_no_import_cycles() -> None:
    graph = {module: imports_of(path, top_level_only=True) for module, path in MODULES.items()}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_torch_free_modules_do_not_import_torch() -> None:
    assert {name for name in TORCH_FREE if not expand([name])} == set()
    assert first_importer_of("torch", expand(TORCH_FREE)) == ""
    assert first_importer_of("torch", ["data.datamodule"]) == "data.datamodule"  # the check itself works


@pytest.mark.parametrize("library", ["sklearn", "scipy", "joblib"])
def test_modules_of_data_do_not_import_slow_libraries(library: str) -> None:
    names = expand(["data.archives", "data.sources", "data.splits", "data.checks", "data.images"])

    assert first_importer_of(library, names) == ""


def test_hydra_is_imported_only_in_config_train_command_and_sweep() -> None:
    users = [
        module
        for module, path in MODULES.items()
        if re.search(r"^\s*(from|import) (hydra|omegaconf)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    assert "config.compose" in users
    assert [module for module in users if not re.fullmatch(HYDRA_USERS, module)] == []


def test_private_lightning_attributes_are_used_in_one_module() -> None:
    users = [name for name, path in MODULES.items() if re.search(PRIVATE_ATTRIBUTES, path.read_text(encoding="utf-8"))]

    assert users == ["lightning_internals"]


def test_checkpoint_file_names_are_literals_in_one_module() -> None:
    users = [
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in ("best.ckpt", "last.ckpt", "checkpoints")
    ]

    assert set(users) == {"files"}


def test_files_have_at_most_200_lines() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}

    assert {name: length for name, length in lengths.items() if length > 200} == {}


def test_functions_have_at_most_50_lines() -> None:
    lengths = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: length for name, length in lengths.items() if length > 50} == {}


def test_train_has_at_most_16_statements() -> None:
    tree = ast.parse((PACKAGE / "train.py").read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "train")
    statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]

    assert len(statements) - 2 <= 16  # without the `def` and the docstring


def test_training_step_has_at_most_12_files_of_the_package_on_its_stack(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks: list[set[str]] = []
    step = ImageClassifier.training_step

    def record_stack(self: ImageClassifier, *args: Any, **kwargs: Any) -> Any:
        frame: FrameType | None = sys._getframe()
        files = set()
        while frame is not None:
            files.add(frame.f_code.co_filename)
            frame = frame.f_back
        stacks.append({Path(file).relative_to(PACKAGE).as_posix() for file in files if file.startswith(str(PACKAGE))})
        return step(self, *args, **kwargs)

    monkeypatch.setattr(ImageClassifier, "training_step", record_stack)
    monkeypatch.chdir(tmp_path)
    root = make_folder({"cats": 10, "dogs": 10})
    options = ["trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=1", "run_dir=run"]

    assert main(["train", "dataset=folder", f"dataset.root={root}", "model=baseline", *options]) == 0
    assert stacks
    assert "train.py" in stacks[0]
    assert len(stacks[0] | {"training/module.py"}) <= 12, sorted(stacks[0])
