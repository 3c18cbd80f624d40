"""The wheel works on its own, from an empty folder."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cnn_classifier import __version__
from scripts.check_wheel import build_wheel, find_missing_yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_carries_every_yaml(wheel: Path) -> None:
    assert find_missing_yaml(wheel) == []
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(("tests", "scripts", "train.py"))]


def test_the_unpacked_wheel_trains_and_predicts_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    zipfile.ZipFile(wheel).extractall(site)
    here.mkdir()
    command = [sys.executable, "-c", "import sys; from cnn_classifier.cli.main import main; sys.exit(main())"]
    environment = os.environ | {"PYTHONPATH": str(site)}  # before the checkout, whose conf/ is then out of sight
    words = ["model=baseline", "dataset.max_per_class=10", "trainer.max_epochs=1", "run_dir=run", "trainer=cpu"]

    trained = subprocess.run([*command, "train", *words], cwd=here, env=environment, capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr
    digits = f"{os.environ['CNN_CLASSIFIER_HOME']}/datasets/digits/3"
    predict = [*command, "predict", "run/checkpoints/best.ckpt", digits]
    predicted = subprocess.run(predict, cwd=here, env=environment, capture_output=True, text=True)

    assert len(predicted.stdout.splitlines()) == 183
    assert sorted(path.name for path in here.iterdir()) == ["run"]


def test_the_versions_agree() -> None:
    assert re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("torch", "torchvision", "lightning", "hydra-core", "pytest", "ruff", "mypy"):
        assert re.search(rf"^{name}==[\d.]+.*\\\n    --hash=sha256:", lock, re.MULTILINE), name
    assert "://" not in lock
    assert "lightning==2.6.2" not in lock
