"""Tests of the migration guides: every override composes, every command parses, every Python block runs."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.cli.parser import build_parser
from cnn_classifier.config.compose import load_config

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("from-keras", "from-fastai", "from-lightning-hydra-template")
GUIDES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
OVERRIDE = re.compile(r"(-m )?[\"+]?[a-z_./]+=[^…]*")


def code_spans(guide: str) -> list[str]:
    """Return the code spans in the second column of the tables of a guide."""
    rows = [line.split(" | ", maxsplit=1)[1] for line in GUIDES[guide].splitlines() if line.startswith("| ")]
    return [span for row in rows for span in re.findall(r"`([^`]+)`", row)]


def override_spans() -> list[str]:
    return [span for guide in GUIDES for span in code_spans(guide) if OVERRIDE.fullmatch(span)]


def command_spans() -> list[str]:
    return [span for guide in GUIDES for span in code_spans(guide) if span.startswith("cnn-classifier ")]


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("span", override_spans())
def test_overrides_of_the_guides_compose(span: str) -> None:
    words = shlex.split(span.removeprefix("-m "))
    if span.startswith("-m "):
        words = [word.split(",")[0] for word in words]
    load_config(words, run_dir="run")


@pytest.mark.parametrize("span", command_spans())
def test_commands_of_the_guides_parse(span: str) -> None:
    build_parser().parse_args(shlex.split(span)[1:])


@pytest.mark.parametrize("guide", GUIDES)
def test_guides_give_an_equivalent_for_most_rows(guide: str) -> None:
    overrides = [span for span in code_spans(guide) if OVERRIDE.fullmatch(span)]
    assert len(overrides) >= 20


@pytest.mark.parametrize("page", [*(f"{name}.md" for name in GUIDES), "api/callbacks.md"])
def test_python_blocks_run(page: str, make_folder: MakeFolder, tmp_path: Path) -> None:
    photos = make_folder({"cats": 12, "dogs": 12}, name="photos")
    shutil.copy(photos / "cats" / "000.png", tmp_path / "photo.jpg")
    for block in python_blocks((DOCS / page).read_text(encoding="utf-8")):
        command = [sys.executable, "-W", "ignore", "-c", block]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr


def test_custom_network_of_the_template_guide_trains(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder({"cats": 12, "dogs": 12}, name="photos")
    (yaml,) = re.findall(r"```yaml\n(.*?)```", GUIDES["from-lightning-hydra-template"], re.DOTALL)
    (command,) = re.findall(r"```bash\npython train.py (.*?)\n```", GUIDES["from-lightning-hydra-template"])
    (tmp_path / "my_conf" / "model").mkdir(parents=True)
    (tmp_path / "my_conf" / "model" / "net.yaml").write_text(yaml)
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "nets.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, *, num_classes: int, channels: int, image_size: int, hidden: int) -> None:\n"
        "        super().__init__(nn.Conv2d(channels, hidden, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),\n"
        "                         nn.Linear(hidden, num_classes))\n"
    )
    short = ["trainer.max_epochs=1", "dataset.image_size=16", "trainer=cpu", "run_dir=run"]
    argv = [sys.executable, "-m", "cnn_classifier", "train", *shlex.split(command), *short]
    result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "report.html").exists()
