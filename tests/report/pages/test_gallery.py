"""Every mistake can be looked into, as far as the page stays small."""

from pathlib import Path

import numpy as np
import pytest
from helpers.folders import MakeFolder

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.pages.gallery import MAX_CELL_IMAGES, MAX_HIGHLIGHTS, build_gallery, select_cells

PREPROCESS = Preprocess(image_size=8, channels=3, resize="stretch", mean=(0.5,) * 3, std=(0.5,) * 3)


def evaluation_of(labels: list[int], probabilities: list[list[float]], paths: list[str]) -> Evaluation:
    names = [f"class {label}" for label in range(len(probabilities[0]))]
    return Evaluation(names, np.array(labels), np.array(probabilities), paths)


def test_mistakes_show_the_surest_and_right_answers_a_bit_of_all() -> None:
    said_wrong = [[0.5 - step / 100, 0.5 + step / 100] for step in range(1, 41)]
    right = [[0.5 + step / 100, 0.5 - step / 100] for step in range(41)]
    names = [str(index) for index in range(81)]
    cells = select_cells(evaluation_of([0] * 81, said_wrong + right, names))
    assert list(cells) == [(0, 1), (0, 0)]
    assert cells[0, 1] == list(range(39, 15, -1))
    assert (cells[0, 0][0], cells[0, 0][-1], len(cells[0, 0])) == (80, 40, 24)


def test_many_classes_have_a_few_pictures_each() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(100), 5000)
    many = evaluation_of([index % 100 for index in range(5000)], probabilities.tolist(), ["a.png"] * 5000)
    cells = select_cells(many)
    assert sum(map(len, cells.values())) <= MAX_CELL_IMAGES
    fullest = max(many.confusion_matrix[cell] for cell in np.ndindex(100, 100) if cell[0] != cell[1])
    assert many.confusion_matrix[next(iter(cells))] == fullest


def test_telling_pictures_have_heat_maps_of_the_answer_or_a_word_why_not(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    root = make_folder({"cats": 3})
    torn = tmp_path / "torn.png"
    torn.write_text("no picture")
    paths = [str(root / "cats" / f"{index:03d}.png") for index in range(3)] + [str(torn)]
    answers = evaluation_of([0, 0, 0, 0], [[0.9, 0.1], [0.02, 0.98], [0.4, 0.6], [0.3, 0.7]], paths)
    asked = []

    def explain(pixels: np.ndarray, classes: list[int]) -> tuple[list[np.ndarray], str]:
        asked.append((pixels.shape, classes))
        return [np.full((2, 2), 0.5, np.float32)] * len(pixels), ""

    shown = build_gallery(answers, PREPROCESS, explain)

    assert asked == [((3, 8, 8, 3), [1, 1, 0])]  # what it said; the torn one cannot be asked about
    assert [(answer.name, answer.suspected) for answer in shown.mistakes] == [
        ("001.png", True),
        ("torn.png", False),
        ("002.png", False),
    ]
    assert [answer.heatmap is None for answer in shown.mistakes] == [False, True, False]
    assert shown.mistakes[1].thumbnail.reason
    assert [answer.name for answer in shown.least_confident] == ["002.png", "torn.png", "000.png", "001.png"]
    assert [answer.name for answer in shown.cells[0, 0]] == ["000.png"]

    without = build_gallery(answers, PREPROCESS, lambda pixels, classes: ([], "No gradients."))
    assert without.heatmap_message == "No gradients."
    assert {answer.heatmap for answer in without.mistakes} == {None}


@pytest.mark.parametrize("count", [1, 100])
def test_there_are_never_too_many(count: int, make_folder: MakeFolder) -> None:
    path = str(make_folder({"cats": 1}) / "cats" / "000.png")
    shown = build_gallery(
        evaluation_of([0] * count, [[0.2, 0.8]] * count, [path] * count), PREPROCESS, lambda *_: ([], "")
    )
    assert len(shown.mistakes) == len(shown.least_confident) == min(count, MAX_HIGHLIGHTS)
