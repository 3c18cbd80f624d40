"""The report stands alone, says everything, and stays small and harmless whatever it is about."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.folders import MakeFolder
from helpers.pages import Page, copies, hostile, summary
from PIL import Image

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.pages.gallery import build_gallery
from cnn_classifier.report.pages.run import reproduce_command, write_report_page
from cnn_classifier.report.write import write_report

PREPROCESS = Preprocess(image_size=8, channels=3, resize="crop", mean=(0.5,) * 3, std=(0.5,) * 3)
EPOCHS = [
    {"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 1.1 / epoch, "train/accuracy": 0.8, "val/accuracy": 0.7}
    for epoch in (1, 2, 3)
]
RAN = {
    "checkpoint": "outputs/my run/best.ckpt",
    "command": ["train.py", "dataset=folder", "dataset.root=my photos"],
    "timing": {"prepare_seconds": 2.0, "fit_seconds": 70.0, "train_images_per_second": 1234.5, "total_seconds": 75.0},
    "hardware": {"machine": "a machine", "cpus": 4, "threads": 2, "accelerators": ["a card"]},
    "versions": {"torch": "9.9"},
}


def explain(pixels: np.ndarray, classes: list[int]) -> tuple[list[np.ndarray], str]:
    return [np.eye(4, dtype=np.float32)] * len(pixels), ""


def written(folder: Path, evaluation: Evaluation, **more: Any) -> Page:
    write_report(folder, evaluation, PREPROCESS, explain, **more)
    return Page(folder / "report.html")


def page_alone(folder: Path, evaluation: Evaluation, **more: Any) -> Page:
    """The page without the tables and figures beside it."""
    shown = build_gallery(evaluation, PREPROCESS, explain)
    write_report_page(folder / "report.html", evaluation.to_dict() | more, evaluation, gallery=shown)
    return Page(folder / "report.html")


def of_pets(root: Path) -> Evaluation:
    """Eight cats and eight dogs, of which two cats are surely dogs and one dog is hardly a cat."""
    paths = [str(root / name / f"{index:03d}.png") for name in ("cats", "dogs") for index in range(8)]
    dogs = np.array([0.97, 0.96, *[0.1] * 6, 0.45, *[0.9] * 7])
    probabilities = np.column_stack([1 - dogs, dogs])
    labels = np.repeat([0, 1], 8)
    return Evaluation(["cats", "dogs"], labels, probabilities, paths, temperature=1.5, threshold=0.6)


@pytest.fixture
def pets(make_folder: MakeFolder) -> Evaluation:
    return of_pets(make_folder({"cats": 8, "dogs": 8}))


def test_it_says_all_that_there_is_to_say(pets: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("optimizer:\n  lr: 0.0625\n", encoding="utf-8")
    data = summary(conflicts=1, duplicates=[copies("cats/000.png", "dogs/000.png", classes=["cats", "dogs"])])
    data["source"] = str(Path(pets.paths[0]).parent.parent)

    page = written(tmp_path / "run", pets, epochs=EPOCHS, splits={"train": [9, 9]}, data=data, **RAN)

    low, high = json.loads((tmp_path / "run" / "report.json").read_text())["intervals"]["accuracy"]
    headline = ("81.2 % of 16 test images right", f"95 % interval {100 * low:.1f} to {100 * high:.1f} %", "1 min 15 s")
    mistakes = (
        "cats called dogs: 2 images",
        "All 3, the surest first.",
        "2 images of which the model is at least 95 %",
    )
    certain = ("divide the logits by 1.50", "below 60.0 % it says", "Area 0.", "Average precision 0.")
    ran = (
        "python train.py dataset=folder 'dataset.root=my photos'",
        "cnn-classifier predict 'outputs/my run/best.ckpt' IMAGE|FOLDER",
        "1 min 10 s to train at 1,234 images a second",
        "a card, 4 cores, 2 threads; a machine",
        "torch 9.9",
        "lr: 0.0625",
    )
    told = (*headline, *mistakes, *certain, *ran, "1 label conflict", "validation", "cats / dogs")
    assert [words for words in told if words not in page.words] == []


def test_every_number_of_the_matrix_leads_to_its_pictures(pets: Evaluation, tmp_path: Path) -> None:
    page = written(tmp_path, pets)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {attributes["href"].removeprefix("#") for tag, attributes in page.tags if tag == "a"}
    assert {"cell-0-0", "cell-0-1", "cell-1-0", "cell-1-1"} <= links
    assert links <= ids
    counted = [attributes for tag, attributes in page.tags if tag == "image" and attributes.get("class") == "heat"]
    assert len(counted) == 3 + 16  # mistakes, and all of the sixteen as the least sure


def test_it_stands_alone(pets: Evaluation, tmp_path: Path) -> None:
    page = written(tmp_path, pets, epochs=EPOCHS, **RAN)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert "prefers-color-scheme: dark" in text


def test_an_evaluation_of_right_answers_alone_has_a_page_too(pets: Evaluation, tmp_path: Path) -> None:
    right = Evaluation(pets.class_names, pets.predicted, pets.probabilities, pets.paths)
    page = written(tmp_path, right, checkpoint="bundle")
    assert "100.0 % of 16 test images right" in page.words
    assert "Evaluation of bundle" in page.words
    assert "Worst mistakes" not in page.words
    assert [attributes["id"] for tag, attributes in page.tags if tag == "input"] == ["heat"]
    alone = Evaluation(["cats", "dogs"], np.zeros(1, np.int64), np.array([[0.7, 0.3]]), pets.paths[:1])
    assert "ROC" not in written(tmp_path / "one", alone).words


def test_a_thousand_classes_and_pictures_of_noise_stay_below_five_megabytes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (128, 128, 3)).astype(np.uint8)).save(tmp_path / "noise.png")
    labels = np.arange(4000) % 1000
    probabilities = generator.random((4000, 1000)) ** 8
    probabilities[np.arange(4000), labels] += 0.9
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = [f"species {label}" for label in range(1000)]
    many = Evaluation(names, labels, probabilities, [str(tmp_path / "noise.png")] * 4000)
    data = hostile("noise.png") | {"classes": dict.fromkeys(names, 4), "splits": {}, "source": str(tmp_path)}

    page = page_alone(tmp_path / "run", many, epochs=EPOCHS * 200, data=data, **RAN)

    assert (tmp_path / "run" / "report.html").stat().st_size < 5_000_000
    assert "from species 0 to species 999" in page.words
    assert "Most confused" in page.words
    assert len([attributes for tag, attributes in page.tags if tag == "path"]) <= 10
    assert "The worst come first." in page.words


@pytest.mark.parametrize("name", ['"><script>alert(1)</script>', "{{ 7 * 7 }} &amp; 猫", "two\nlines\x00", "caf\udce9"])
def test_names_do_nothing(name: str, tmp_path: Path) -> None:
    def page_about(name: str, folder: Path) -> Page:
        answers = np.array([[0.99, 0.01], [0.98, 0.02], [0.4, 0.6]])
        about = Evaluation([name, f"{name}2"], np.array([0, 1, 1]), answers, [f"/{name}/{n}{name}" for n in "abc"])
        ran = RAN | {"checkpoint": name, "versions": {name: name}, "hardware": RAN["hardware"] | {"machine": name}}
        return page_alone(folder, about, epochs=EPOCHS, data=hostile(name), **ran)

    plain, page = page_about("name", tmp_path / "plain"), page_about(name, tmp_path / "odd")
    assert [(tag, list(attributes)) for tag, attributes in page.tags] == [
        (tag, list(attributes)) for tag, attributes in plain.tags
    ]
    shown = name.encode("unicode_escape").decode() if name.startswith(("two", "caf")) else name
    assert page.words.count(shown) > 20


def test_the_command_can_be_typed_again() -> None:
    assert reproduce_command(["train.py", "seed=1", "a=b c"]) == "python train.py seed=1 'a=b c'"
    assert reproduce_command(["/usr/bin/cnn-classifier", "seed=1"]) == "cnn-classifier train seed=1"
    assert (
        reproduce_command(["/usr/bin/cnn-classifier", "evaluate", "run", "photos"])
        == "cnn-classifier evaluate run photos"
    )
