"""Fixtures of all tests: a separate cache, small image folders, a trained checkpoint and its bundle."""

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
from cnn_classifier.models.weights import PACKAGES

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
    """Run the files of long tests first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(autouse=True, scope="session")
def separate_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use empty caches in place of the developer's, no network, and no installed weights: all processes inherit it."""
    hidden = tmp_path_factory.mktemp("packages")
    for package in PACKAGES.values():
        (hidden / package.replace("-", "_")).mkdir()
        (hidden / package.replace("-", "_") / "__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CNN_CLASSIFIER_HOME", "TORCH_HOME", "HF_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp("home")))
        patch.setenv("CNN_CLASSIFIER_OFFLINE", "1")
        patch.setenv("PYTHONPATH", str(hidden), prepend=os.pathsep)
        patch.syspath_prepend(hidden)
        yield


@pytest.fixture(autouse=True)
def skip_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the figures, which take half of the time of a tiny training.

    The tests in tests/report draw them, and those that request the fixture `pictures`.
    """
    if "pictures" not in request.fixturenames and "report" not in request.path.parts:
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **more: Path(path).touch())
        monkeypatch.setattr("cnn_classifier.report.charts.figures.save_png", lambda figure, path: path.touch())


@pytest.fixture(autouse=True)
def fixed_step_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return the same step time on every machine, so that all machines choose the same precision and memory format.

    The tests in tests/auto/test_execution.py measure it.
    """
    if request.path.stem != "test_execution":
        monkeypatch.setattr(StepTimer, "measure", lambda self, precision, memory_format, **limits: 0.02)


@pytest.fixture
def pictures() -> None:
    """Draw the figures of a training."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory for a single test."""
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A function that writes noisy PNGs of one color per class: `make_folder({"train/cats": 6, "train/dogs": 6})`."""

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
    """A headless Chromium; the test is skipped if it is not installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    without_sandbox = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium requires it as root
    # Started for each test, since no other event loop can run in this process while Playwright is running.
    with playwright.sync_playwright() as playwright_api:
        chromium = playwright_api.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if without_sandbox else []
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an untrained classifier of birds, cats and dogs."""
    from helpers.classifiers import make_classifier, save_checkpoint

    from cnn_classifier.training.checkpoints import add_calibration

    path = save_checkpoint(tmp_path_factory.mktemp("trained") / "best.ckpt", make_classifier())
    add_calibration(path, {"temperature": 0.5, "threshold": 0.2})
    return path


@pytest.fixture(scope="session")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX bundle of `trained`, shared by all tests because an export takes seconds."""
    from cnn_classifier.export.bundle import export

    folder = tmp_path_factory.mktemp("exported")
    for name in ("birds", "cats", "dogs"):
        (folder / "images" / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / "images" / name / "gray.png")
    export(trained, folder / "bundle", images=folder / "images")
    return folder / "bundle"
