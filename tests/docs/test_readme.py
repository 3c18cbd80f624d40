"""Tests of the README: its commands and Python code run on small images, its links and its tree exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.config.compose import load_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICK = ["trainer.max_epochs=1", "dataset.image_size=32", "trainer=cpu"]


def commands(prefix: str) -> list[list[str]]:
    """Return the commands in the bash blocks that start with a prefix, split into arguments."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(prefix)]


def run_python(code: str) -> list[str]:
    """Run a Python program in the working directory and return the lines it printed."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.fixture
def workplace(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with `photos`, `cats_dogs`, `weights.pth` and the other inputs of the README."""
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "weights.pth")
    photos = make_folder({"cats": 12, "dogs": 12}, name="photos")
    shutil.make_archive(str(photos), "zip", photos)
    make_folder({"train/cats": 12, "train/dogs": 12, "test/cats": 4, "test/dogs": 4}, name="cats_dogs")
    make_folder({"4k_training_data_set/cats": 12, "4k_training_data_set/dogs": 12}, name="dataset")
    shutil.copytree(tmp_path / "cats_dogs" / "test", tmp_path / "dataset" / "1k_test_data_set")
    shutil.copytree(tmp_path / "photos" / "cats", tmp_path / "new_photos")
    shutil.copy(photos / "cats" / "000.png", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_run_in_order(workplace: Path) -> None:
    train_commands = commands("python train.py")
    other_commands = commands("cnn-classifier")
    assert len(train_commands) >= 8
    assert len(other_commands) >= 8

    for argv in train_commands:
        if "--help" in argv:
            assert main(["train", *argv[2:]]) == 0
            continue
        is_search = any(argument.startswith(("search=", "hydra/sweeper=")) for argument in argv)
        extra = [*QUICK, *(["hydra.sweeper.n_trials=1"] if is_search else [])]
        assert main(["train", *argv[2:], *([] if "--cfg" in argv else extra)]) == 0, argv
    for argv in other_commands:
        assert main(argv[1:]) == 0, argv


def test_python_blocks_run(workplace: Path) -> None:
    lightning_block, train_block = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "max_epochs=20" in lightning_block
    assert "trainer.max_epochs=20" in train_block

    output = run_python(lightning_block.replace("max_epochs=20", "max_epochs=1"))
    assert any("test/accuracy" in line for line in output)
    assert output[-1].startswith("Prediction(path='photo.jpg', label='")

    output = run_python(train_block.replace('"trainer.max_epochs=20"', ", ".join(f'"{value}"' for value in QUICK)))
    predictions = [line for line in output if line.startswith("new_photos")]
    assert len(predictions) == 12


def test_python_example_imports_only_public_names() -> None:
    for names in re.findall(r"^from cnn_classifier import (.+)$", README, re.MULTILINE):
        assert set(names.split(", ")) <= {
            "ImageClassifier", "ImageFolderDataModule", "Predictor", "Prediction", "load_config", "train",
        }  # fmt: skip
    assert not re.search(r"^from cnn_classifier\.", README, re.MULTILINE)


def test_commands_of_the_results_table_compose() -> None:
    table = re.search(r"<!-- results:.*?<!-- end of results -->", README, re.DOTALL)
    assert table is not None
    rows = re.findall(r"^\| `python train\.py ([^`]+)`", table[0], re.MULTILINE)
    assert len(rows) >= 4
    for row in rows:
        load_config(row.replace("weights=PATH", "weights=imagenet").split(), run_dir="run")


def test_tree_lists_the_folders_of_the_repository() -> None:
    tree = re.search(r"## Repository\n\n```text\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    names = [line.split()[0] for line in tree[1].splitlines()]
    for name in names:
        assert (ROOT / name).exists(), name
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    folders = {f"{path.split('/')[0]}/" for path in tracked if "/" in path and not path.startswith(".")}
    packages = {"/".join(path.split("/")[:2]) + "/" for path in tracked if re.match(r"cnn_classifier/[^/]+/", path)}
    assert folders | packages <= set(names)


def test_linked_files_and_sections_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert {"train", "test", "docs", "faults"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_extras_exist() -> None:
    section = README.split("| extra | feature |")[1].split("\n\n")[0]
    names = {
        name for row in re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = pyproject.split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert names == set(re.findall(r"^(\w+) = \[", extras, re.MULTILINE))


def test_lines_are_at_most_120_characters_long() -> None:
    exempt = "| `python train.py"  # the table of scripts/results.py
    assert [line for line in README.splitlines() if len(line) > 120 and not line.startswith(exempt)] == []
