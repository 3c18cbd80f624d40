"""The report of a real run in an offline browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.cli.main import main

OVERRIDES = ["dataset=folder", *TINY, "trainer.max_epochs=2", "run_dir=run"]
PHONE = {"width": 360, "height": 740}


@pytest.fixture
def run(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the run directory of a training on two classes, one with a long name."""
    monkeypatch.chdir(tmp_path)
    names = ["a_class_with_a_rather_long_name", "dogs"]
    root = make_folder(
        {f"{split}/{name}": count for split, count in {"train": 12, "test": 6}.items() for name in names}
    )
    assert main(["train", *OVERRIDES, f"dataset.root={root}"]) == 0
    return tmp_path / "run"


def test_report_opens_and_matrix_counts_show_their_images(run: Path, browser: Any) -> None:
    context = browser.new_context(viewport=PHONE, offline=True, color_scheme="light")
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))

    page.goto((run / "report.html").as_uri())

    accuracy = json.loads((run / "report.json").read_text(encoding="utf-8"))["test"]["accuracy"]
    assert page.locator("h1").inner_text() == f"{100 * accuracy:.1f} % accuracy on 12 test images"
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]

    panels = page.locator(".panel")
    assert not any(panel.is_visible() for panel in panels.all())
    link = page.locator(".matrix a").first
    count, target = int(link.inner_text()), link.get_attribute("href")
    link.click()
    assert [panel.get_attribute("id") for panel in panels.all() if panel.is_visible()] == [target.removeprefix("#")]
    images = page.locator(f"{target} img")
    assert images.count() == count
    assert all(image.evaluate("image => image.decode().then(() => image.naturalWidth)") for image in images.all())
    page.locator(f"{target} a", has_text="close").click()
    assert not any(panel.is_visible() for panel in panels.all())

    heatmaps = page.locator("#least-confident .heatmap")
    assert heatmaps.count() == 12
    assert heatmaps.first.is_visible()
    page.locator("#show-heatmaps").uncheck()
    assert not heatmaps.first.is_visible()

    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(250, 249, 247)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == "rgb(21, 21, 23)"
    assert problems == []
    context.close()
