"""What every test stands on: a cache of its own, and folders of pictures made in sight."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.folders import COLORS, MakeFolder
from matplotlib.figure import Figure
from PIL import Image

from cnn_classifier.auto.step_timer import StepTimer

LONG = (
    "test_readme",
    "test_faults",
    "test_quickstart",
    "test_packaging",
    "test_launcher",
    "test_search",
    "test_distributed",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of long tests first, so that no worker is left alone with one in the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither read nor fill the developer's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def pictures_where_they_are_tested(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a tiny training's time goes into `figures/`; tests/report and whoever asks for `pictures` draw them."""
    if "pictures" not in request.fixturenames and "report" not in request.path.parts:
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **more: Path(path).touch())
        monkeypatch.setattr("cnn_classifier.report.charts.figures.save_png", lambda figure, path: path.touch())


@pytest.fixture(autouse=True)
def speed_of_no_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine is given the same step time, so that it chooses the same; tests/auto/test_execution.py measures."""
    if request.path.stem != "test_execution":
        monkeypatch.setattr(StepTimer, "measure", lambda self, precision, layout, **limits: 0.02)


@pytest.fixture
def pictures() -> None:
    """Draw them."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that no other test has filled."""
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """`make_folder({"train/cats": 6, "train/dogs": 6})` writes so many PNGs of one colour a class, with some noise."""

    def make(layout: dict[str, int], *, size: int = 32, mode: str = "RGB", name: str = "images") -> Path:
        root = tmp_path / name
        classes = sorted({Path(folder).name for folder in layout})
        for folder, count in layout.items():
            (root / folder).mkdir(parents=True)
            label = classes.index(Path(folder).name)
            for index in range(count):
                noise = np.random.default_rng([label, index, len(folder)]).integers(-20, 20, (size, size, 3))
                pixels = (np.array(COLORS[label % len(COLORS)]) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).convert(mode).save(root / folder / f"{index:03d}.png")
        return root

    return make


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium without a window; skips the test where it is not installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    without_sandbox = hasattr(os, "geteuid") and os.geteuid() == 0  # it refuses to run as root otherwise
    # For each test anew: as long as it runs, nothing else in this process may start an event loop.
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox"] if without_sandbox else [])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that tells birds, cats and dogs apart by luck."""
    from helpers.classifiers import make_classifier, save_checkpoint

    from cnn_classifier.training.checkpoints import add_calibration

    path = save_checkpoint(tmp_path_factory.mktemp("trained") / "best.ckpt", make_classifier())
    add_calibration(path, {"temperature": 0.5, "threshold": 0.2})
    return path


@pytest.fixture(scope="session")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its ONNX bundle; one for all tests, since an export takes seconds."""
    from cnn_classifier.export.bundle import export

    folder = tmp_path_factory.mktemp("exported")
    for name in ("birds", "cats", "dogs"):
        (folder / "images" / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / "images" / name / "grey.png")
    export(trained, folder / "bundle", images=folder / "images")
    return folder / "bundle"
