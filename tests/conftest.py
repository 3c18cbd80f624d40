"""What every test stands on: a cache of its own, and folders of pictures made in sight."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]
# Far apart and of one brightness each, so that a network learns them in a moment and a test can tell them apart.
COLOURS = [(200, 40, 40), (40, 60, 200), (60, 190, 60), (210, 200, 50), (150, 60, 190), (70, 200, 200)]


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither read nor fill the developer's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


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
                pixels = (np.array(COLOURS[label % len(COLOURS)]) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).convert(mode).save(root / folder / f"{index:03d}.png")
        return root

    return make
