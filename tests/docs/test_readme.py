"""What the README shows, runs: every command, in order, on small pictures under the names that it uses."""

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

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICK = ["trainer.max_epochs=1", "dataset.image_size=32", "trainer=cpu"]


def commands(prefix: str) -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(prefix)]


@pytest.fixture
def workplace(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the `photos`, `cats_dogs`, `weights.pth` and so on that the README speaks of."""
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "weights.pth")
    photos = make_folder({"cats": 12, "dogs": 12}, name="photos")
    shutil.make_archive(str(photos), "zip", photos)
    make_folder({"train/cats": 12, "train/dogs": 12, "test/cats": 4, "test/dogs": 4}, name="cats_dogs")
    make_folder({"4k_training_data_set/cats": 12, "4k_training_data_set/dogs": 12}, name="dataset")
    shutil.copytree(tmp_path / "cats_dogs" / "test", tmp_path / "dataset" / "1k_test_data_set")
    shutil.copytree(tmp_path / "photos" / "cats", tmp_path / "new_photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_training_and_every_answer_of_the_readme_runs(workplace: Path) -> None:
    trainings = commands("python train.py")
    answers = commands("cnn-classifier")
    assert len(trainings) >= 8
    assert len(answers) >= 3

    for words in trainings:
        if "--help" in words:
            assert main(["train", *words[2:]]) == 0
            continue
        is_search = any(word.startswith(("search=", "hydra/sweeper=")) for word in words)
        more = [*QUICK, *(["hydra.sweeper.n_trials=1"] if is_search else [])]
        assert main(["train", *words[2:], *([] if "--cfg" in words else more)]) == 0, words
    for words in answers:
        assert main(words[1:]) == 0, words


def test_the_python_of_the_readme_runs(workplace: Path) -> None:
    assert main(["train", "dataset=folder", "dataset.root=photos", "run_dir=outputs/first", *QUICK]) == 0

    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=True)

    assert len(done.stdout.splitlines()) == 12


def test_the_tree_of_the_readme_is_the_tree() -> None:
    tree = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]
    for line in tree.splitlines():
        name = line.split()[0]
        assert (ROOT / name).exists(), name


def test_the_files_that_the_readme_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_offers_what_the_readme_says() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
