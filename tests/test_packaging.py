"""Guards of the packaging: wheel contents, version, lock file."""

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


def test_wheel_contains_every_yaml_file_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert find_missing_yaml(wheel) == []
    assert "cnn_classifier/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "scripts", "train.py"))]


def test_unpacked_wheel_trains_and_predicts_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, workdir = tmp_path / "site", tmp_path / "workdir"
    zipfile.ZipFile(wheel).extractall(site)
    workdir.mkdir()
    command = [sys.executable, "-c", "import sys; from cnn_classifier.cli.main import main; sys.exit(main())"]
    environment = os.environ | {"PYTHONPATH": str(site)}  # precedes the checkout and its conf/
    overrides = ["model=baseline", "dataset.max_per_class=10", "trainer.max_epochs=1", "run_dir=run", "trainer=cpu"]

    trained = subprocess.run(
        [*command, "train", *overrides], cwd=workdir, env=environment, capture_output=True, text=True
    )
    assert trained.returncode == 0, trained.stderr
    digits = f"{os.environ['CNN_CLASSIFIER_HOME']}/datasets/digits/3"
    predict = [*command, "predict", "run/checkpoints/best.ckpt", digits]
    predicted = subprocess.run(predict, cwd=workdir, env=environment, capture_output=True, text=True)

    assert len(predicted.stdout.splitlines()) == 183
    assert sorted(path.name for path in workdir.iterdir()) == ["run"]


def test_version_is_equal_in_package_wheel_changelog_and_citation(wheel: Path) -> None:
    assert wheel.name.startswith(f"cnn_classifier-{__version__}-")
    assert f"\n## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_lock_pins_dependencies_with_hashes_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("torch", "torchvision", "lightning", "hydra-core", "pytest", "ruff", "mypy"):
        assert re.search(rf"^{name}==[\d.]+.*\\\n    --hash=sha256:", lock, re.MULTILINE), name
    assert "://" not in lock
    assert "lightning==2.6.2" not in lock
