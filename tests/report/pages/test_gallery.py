"""Selection of images for the run report, and their heat maps."""

from pathlib import Path

import numpy as np
import pytest
from helpers.folders import MakeFolder

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.pages.gallery import MAX_CELL_IMAGES, MAX_HIGHLIGHTS, build_gallery, select_cells

PREPROCESS = Preprocess(image_size=8, channels=3, resize="stretch", mean=(0.5,) * 3, std=(0.5,) * 3)


def make_evaluation(labels: list[int], probabilities: list[list[float]], paths: list[str]) -> Evaluation:
    names = [f"class {label}" for label in range(len(probabilities[0]))]
    return Evaluation(names, np.array(labels), np.array(probabilities), paths)


def test_cells_contain_most_confident_mistakes_and_evenly_spaced_correct_images() -> None:
    incorrect = [[0.5 - step / 100, 0.5 + step / 100] for step in range(1, 41)]
    correct = [[0.5 + step / 100, 0.5 - step / 100] for step in range(41)]
    names = [str(index) for index in range(81)]
    cells = select_cells(make_evaluation([0] * 81, incorrect + correct, names))
    assert list(cells) == [(0, 1), (0, 0)]
    assert cells[0, 1] == list(range(39, 15, -1))
    assert (cells[0, 0][0], cells[0, 0][-1], len(cells[0, 0])) == (80, 40, 24)


def test_cells_of_many_classes_are_limited() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(100), 5000)
    evaluation = make_evaluation([index % 100 for index in range(5000)], probabilities.tolist(), ["a.png"] * 5000)
    cells = select_cells(evaluation)
    assert sum(map(len, cells.values())) <= MAX_CELL_IMAGES
    max_count = max(evaluation.confusion_matrix[cell] for cell in np.ndindex(100, 100) if cell[0] != cell[1])
    assert evaluation.confusion_matrix[next(iter(cells))] == max_count


def test_mistakes_have_heat_maps_of_the_predicted_class_or_a_message(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"cats": 3})
    torn = tmp_path / "torn.png"
    torn.write_text("not an image")
    paths = [str(root / "cats" / f"{index:03d}.png") for index in range(3)] + [str(torn)]
    evaluation = make_evaluation([0, 0, 0, 0], [[0.9, 0.1], [0.02, 0.98], [0.4, 0.6], [0.3, 0.7]], paths)
    calls = []

    def explain(pixels: np.ndarray, classes: list[int]) -> tuple[list[np.ndarray], str]:
        calls.append((pixels.shape, classes))
        return [np.full((2, 2), 0.5, np.float32)] * len(pixels), ""

    gallery = build_gallery(evaluation, PREPROCESS, explain)

    assert calls == [((3, 8, 8, 3), [1, 1, 0])]  # the predicted classes; the torn image is skipped
    assert [(item.name, item.is_label_suspect) for item in gallery.mistakes] == [
        ("001.png", True),
        ("torn.png", False),
        ("002.png", False),
    ]
    assert [item.heatmap is None for item in gallery.mistakes] == [False, True, False]
    assert gallery.mistakes[1].thumbnail.reason
    assert [item.name for item in gallery.least_confident] == ["002.png", "torn.png", "000.png", "001.png"]
    assert [item.name for item in gallery.cells[0, 0]] == ["000.png"]

    gallery_without_heatmaps = build_gallery(evaluation, PREPROCESS, lambda pixels, classes: ([], "No gradients."))
    assert gallery_without_heatmaps.heatmap_message == "No gradients."
    assert {item.heatmap for item in gallery_without_heatmaps.mistakes} == {None}


@pytest.mark.parametrize("count", [1, 100])
def test_highlights_are_limited(count: int, make_folder: MakeFolder) -> None:
    path = str(make_folder({"cats": 1}) / "cats" / "000.png")
    gallery = build_gallery(
        make_evaluation([0] * count, [[0.2, 0.8]] * count, [path] * count), PREPROCESS, lambda *_: ([], "")
    )
    assert len(gallery.mistakes) == len(gallery.least_confident) == min(count, MAX_HIGHLIGHTS)
