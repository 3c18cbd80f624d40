"""The HTML report of a run: contents, links, escaping of names, size limits."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.folders import MakeFolder
from helpers.pages import Page, duplicate_group, make_summary, summary_with_name
from PIL import Image

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.pages.gallery import build_gallery
from cnn_classifier.report.pages.run import write_report_page
from cnn_classifier.report.write import write_report

PREPROCESS = Preprocess(image_size=8, channels=3, resize="crop", mean=(0.5,) * 3, std=(0.5,) * 3)
EPOCHS = [
    {"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 1.1 / epoch, "train/accuracy": 0.8, "val/accuracy": 0.7}
    for epoch in (1, 2, 3)
]
RUN_INFO = {
    "checkpoint": "checkpoints/best.ckpt",
    "command": "python train.py dataset=folder 'dataset.root=my photos'",
    "timing": {"prepare_seconds": 2.0, "fit_seconds": 70.0, "train_images_per_second": 1234.5, "total_seconds": 75.0},
    "hardware": {"machine": "a machine", "cpus": 4, "threads": 2, "accelerators": ["a GPU"]},
    "versions": {"torch": "9.9"},
}


def explain(pixels: np.ndarray, classes: list[int]) -> tuple[list[np.ndarray], str]:
    return [np.eye(4, dtype=np.float32)] * len(pixels), ""


def write_and_parse(folder: Path, evaluation: Evaluation, **extra: Any) -> Page:
    write_report(folder, evaluation, PREPROCESS, explain, **extra)
    return Page(folder / "report.html")


def write_page_only(folder: Path, evaluation: Evaluation, **extra: Any) -> Page:
    """Write the page without tables and figures."""
    gallery = build_gallery(evaluation, PREPROCESS, explain)
    write_report_page(folder / "report.html", evaluation.to_dict() | extra, evaluation, gallery=gallery)
    return Page(folder / "report.html")


def evaluate_pets(root: Path) -> Evaluation:
    """Return predictions of 16 images with two confident mistakes on cats and an uncertain one on dogs."""
    paths = [str(root / name / f"{index:03d}.png") for name in ("cats", "dogs") for index in range(8)]
    dog_probabilities = np.array([0.97, 0.96, *[0.1] * 6, 0.45, *[0.9] * 7])
    probabilities = np.column_stack([1 - dog_probabilities, dog_probabilities])
    labels = np.repeat([0, 1], 8)
    return Evaluation(["cats", "dogs"], labels, probabilities, paths, temperature=1.5, threshold=0.6)


@pytest.fixture
def pets(make_folder: MakeFolder) -> Evaluation:
    return evaluate_pets(make_folder({"cats": 8, "dogs": 8}))


def test_report_page_shows_all_sections(pets: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("optimizer:\n  lr: 0.0625\n", encoding="utf-8")
    data = make_summary(
        conflicts=1, duplicates=[duplicate_group("cats/000.png", "dogs/000.png", classes=["cats", "dogs"])]
    )
    data["source"] = str(Path(pets.paths[0]).parent.parent)

    page = write_and_parse(tmp_path / "run", pets, epochs=EPOCHS, splits={"train": [9, 9]}, data=data, **RUN_INFO)

    low, high = json.loads((tmp_path / "run" / "report.json").read_text())["intervals"]["accuracy"]
    headline = ("81.2 % accuracy on 16 test images", f"95 % CI {100 * low:.1f}\u2013{100 * high:.1f} %", "1 min 15 s")
    mistakes = (
        "cats predicted as dogs: 2 images",
        "All 3 mistakes in descending order of confidence.",
        "2 mistakes with a confidence of at least 95 %",
    )
    charts = ("Temperature scaling with T = 1.50", "a confidence below 60.0 %", "AUC 0.", "Average precision 0.")
    commands = (
        "python train.py dataset=folder 'dataset.root=my photos'",
        f"cnn-classifier predict {tmp_path / 'run' / 'checkpoints' / 'best.ckpt'} IMAGE|FOLDER",
        "training 1 min 10 s (1,234 images/s)",
        "a GPU, 4 CPU cores, 2 threads; a machine",
        "torch 9.9",
        "lr: 0.0625",
    )
    expected = (*headline, *mistakes, *charts, *commands, "1 label conflict", "validation", "cats / dogs")
    assert [text for text in expected if text not in page.text] == []


def test_every_count_of_the_matrix_links_to_its_images(pets: Evaluation, tmp_path: Path) -> None:
    page = write_and_parse(tmp_path, pets)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {attributes["href"].removeprefix("#") for tag, attributes in page.tags if tag == "a"}
    assert {"cell-0-0", "cell-0-1", "cell-1-0", "cell-1-1"} <= links
    assert links <= ids
    heatmaps = [attributes for tag, attributes in page.tags if tag == "image" and attributes.get("class") == "heatmap"]
    assert len(heatmaps) == 3 + 16  # mistakes and least confident predictions


def test_report_page_is_self_contained(pets: Evaluation, tmp_path: Path) -> None:
    page = write_and_parse(tmp_path, pets, epochs=EPOCHS, **RUN_INFO)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert "prefers-color-scheme: dark" in text


def test_report_page_without_mistakes_has_no_mistakes_section(pets: Evaluation, tmp_path: Path) -> None:
    without_mistakes = Evaluation(pets.class_names, pets.predicted, pets.probabilities, pets.paths)
    page = write_and_parse(tmp_path, without_mistakes, checkpoint="bundle")
    assert "100.0 % accuracy on 16 test images" in page.text
    assert "Evaluation of bundle" in page.text
    assert "Most confident mistakes" not in page.text
    assert [attributes["id"] for tag, attributes in page.tags if tag == "input"] == ["show-heatmaps"]
    single = Evaluation(["cats", "dogs"], np.zeros(1, np.int64), np.array([[0.7, 0.3]]), pets.paths[:1])
    assert "ROC" not in write_and_parse(tmp_path / "one", single).text


def test_report_page_of_1000_classes_is_smaller_than_5_mb(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (128, 128, 3)).astype(np.uint8)).save(tmp_path / "noise.png")
    labels = np.arange(4000) % 1000
    probabilities = generator.random((4000, 1000)) ** 8
    probabilities[np.arange(4000), labels] += 0.9
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = [f"species {label}" for label in range(1000)]
    evaluation = Evaluation(names, labels, probabilities, [str(tmp_path / "noise.png")] * 4000)
    data = summary_with_name("noise.png") | {"classes": dict.fromkeys(names, 4), "splits": {}, "source": str(tmp_path)}

    page = write_page_only(tmp_path / "run", evaluation, epochs=EPOCHS * 200, data=data, **RUN_INFO)

    assert (tmp_path / "run" / "report.html").stat().st_size < 5_000_000
    assert "from species 0 to species 999" in page.text
    assert "Most confused classes" in page.text
    assert len([attributes for tag, attributes in page.tags if tag == "path"]) <= 10
    assert "Classes are sorted by F1 in ascending order." in page.text


@pytest.mark.parametrize("name", ['"><script>alert(1)</script>', "{{ 7 * 7 }} &amp; 猫", "two\nlines\x00", "caf\udce9"])
def test_hostile_names_are_escaped(name: str, tmp_path: Path) -> None:
    def write_page_with_name(name: str, folder: Path) -> Page:
        probabilities = np.array([[0.99, 0.01], [0.98, 0.02], [0.4, 0.6]])
        evaluation = Evaluation(
            [name, f"{name}2"], np.array([0, 1, 1]), probabilities, [f"/{name}/{n}{name}" for n in "abc"]
        )
        run_info = RUN_INFO | {
            "checkpoint": name,
            "versions": {name: name},
            "hardware": RUN_INFO["hardware"] | {"machine": name},
        }
        return write_page_only(folder, evaluation, epochs=EPOCHS, data=summary_with_name(name), **run_info)

    plain, page = write_page_with_name("name", tmp_path / "plain"), write_page_with_name(name, tmp_path / "hostile")
    assert [(tag, list(attributes)) for tag, attributes in page.tags] == [
        (tag, list(attributes)) for tag, attributes in plain.tags
    ]
    escaped = name.encode("unicode_escape").decode() if name.startswith(("two", "caf")) else name
    assert page.text.count(escaped) > 20
