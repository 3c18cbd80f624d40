"""The report of a real run, opened by a real browser that has no network."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.cli.main import main

WORDS = ["dataset=folder", *TINY, "trainer.max_epochs=2", "run_dir=run"]
PHONE = {"width": 360, "height": 740}


@pytest.fixture
def run(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training on two classes, with long names."""
    monkeypatch.chdir(tmp_path)
    names = ["a_class_with_a_rather_long_name", "dogs"]
    root = make_folder(
        {f"{split}/{name}": count for split, count in {"train": 12, "test": 6}.items() for name in names}
    )
    assert main(["train", *WORDS, f"dataset.root={root}"]) == 0
    return tmp_path / "run"


def test_the_report_opens_and_its_numbers_can_be_looked_into(run: Path, browser: Any) -> None:
    context = browser.new_context(viewport=PHONE, offline=True, color_scheme="light")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or complaints.append(asked.url))

    page.goto((run / "report.html").as_uri())

    accuracy = json.loads((run / "report.json").read_text(encoding="utf-8"))["test"]["accuracy"]
    assert page.locator("h1").inner_text() == f"{100 * accuracy:.1f} % of 12 test images right"
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]

    panels = page.locator(".panel")
    assert not any(panel.is_visible() for panel in panels.all())
    number = page.locator(".matrix a").first
    count, target = int(number.inner_text()), number.get_attribute("href")
    number.click()
    assert [panel.get_attribute("id") for panel in panels.all() if panel.is_visible()] == [target.removeprefix("#")]
    pictures = page.locator(f"{target} img")
    assert pictures.count() == count
    assert all(
        picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") for picture in pictures.all()
    )
    page.locator(f"{target} a", has_text="close").click()
    assert not any(panel.is_visible() for panel in panels.all())

    heat = page.locator("#unsure .heat")
    assert heat.count() == 12
    assert heat.first.is_visible()
    page.locator("#heat").uncheck()
    assert not heat.first.is_visible()

    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(250, 249, 247)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == "rgb(21, 21, 23)"
    assert complaints == []
    context.close()
