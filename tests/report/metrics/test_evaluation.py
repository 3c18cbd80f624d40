"""Scores agree with what one counts by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cnn_classifier.report.metrics.evaluation import Evaluation


def of_pets(labels: list[int], sure_of_dog: list[float]) -> Evaluation:
    probabilities = np.column_stack([1 - np.array(sure_of_dog), sure_of_dog])
    paths = [f"{index}.png" for index in range(len(labels))]
    return Evaluation(["cats", "dogs"], np.array(labels), probabilities, paths, {"x.png": "cannot identify image file"})


@pytest.fixture
def pets() -> Evaluation:
    """Three cats, of which one was called a dog, and two dogs, both found."""
    return of_pets([0, 0, 0, 1, 1], [0.1, 0.3, 0.8, 0.6, 0.9])


def of_many(num_classes: int) -> Evaluation:
    """One image a class, each given its true class as the third likeliest."""
    eye = np.eye(num_classes)
    probabilities = 0.01 + 0.3 * eye + 0.5 * np.roll(eye, 1, axis=1) + 0.4 * np.roll(eye, 2, axis=1)
    names = [f"class {label}" for label in range(num_classes)]
    return Evaluation(names, np.arange(num_classes), probabilities, names)


def test_scores_are_those_counted_by_hand(pets: Evaluation) -> None:
    assert pets.scores() == pytest.approx(
        {
            "loss": -np.log([0.9, 0.7, 0.2, 0.6, 0.9]).mean(),
            "accuracy": 4 / 5,
            "precision_macro": (1 + 2 / 3) / 2,
            "recall_macro": (2 / 3 + 1) / 2,
            "f1_macro": 0.8,
            "precision_weighted": (3 * 1 + 2 * 2 / 3) / 5,
            "recall_weighted": 0.8,
            "f1_weighted": 0.8,
        }
    )


def test_each_class_has_its_own_and_the_second_of_two_is_the_positive_one(pets: Evaluation) -> None:
    cats, dogs = (list(row.values()) for row in pets.per_class())
    assert cats == ["cats", 1, pytest.approx(2 / 3), pytest.approx(0.8), 3]
    assert dogs == ["dogs", pytest.approx(2 / 3), 1, pytest.approx(0.8), 2]
    assert list(pets.per_class()[0]) == ["class", "precision", "recall", "f1", "support"]
    assert pets.to_dict()["positive_class"] == pets.per_class()[1]
    assert "positive_class" not in of_many(3).to_dict()


def test_a_class_never_answered_counts_as_zero() -> None:
    only_cats = of_pets([0, 1], [0.0, 0.0])
    assert only_cats.per_class()[1] == {"class": "dogs", "precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert np.isfinite(only_cats.scores()["loss"])


def test_top_5_appears_above_5_classes_only() -> None:
    assert "top_5_accuracy" not in of_many(5).scores()
    assert of_many(6).scores()["top_5_accuracy"] == 1
    assert of_many(6).scores()["accuracy"] == 0


def test_the_surest_mistakes_come_first() -> None:
    assert of_pets([0, 0, 0, 1, 0], [0.6, 0.1, 0.9, 0.2, 0.7]).mistakes().tolist() == [2, 3, 4, 0]


def test_the_report_is_plain_json_with_the_unreadable_files_in_it(pets: Evaluation) -> None:
    content = pets.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["confusion_matrix"] == [[2, 1], [0, 2]]
    assert content["unreadable"] == {"x.png": "cannot identify image file"}


def test_the_terminal_shows_the_scores_and_a_row_a_class(pets: Evaluation) -> None:
    scores, _, head, cats, dogs = pets.format().splitlines()
    assert "accuracy 0.8000" in scores
    assert head.split() == ["class", "precision", "recall", "f1", "images"]
    assert cats.split() == ["cats", "1.0000", "0.6667", "0.8000", "3"]
    assert len(head) == len(cats) == len(dogs)


def test_tables_can_be_opened_elsewhere(pets: Evaluation, tmp_path: Path) -> None:
    pets.write_tables(tmp_path)
    matrix, predictions = (
        list(csv.reader((tmp_path / name).read_text(encoding="utf-8").splitlines()))
        for name in ("confusion_matrix.csv", "predictions.csv")
    )
    assert matrix == [["true \\ predicted", "cats", "dogs"], ["cats", "2", "1"], ["dogs", "0", "2"]]
    assert predictions[0] == ["path", "label", "predicted", "probability"]
    assert predictions[3] == ["2.png", "cats", "dogs", "0.800000"]
    assert len(predictions) == 6


def test_classes_may_have_the_names_of_averages() -> None:
    names = ["accuracy", "macro avg", "$_$"]
    evaluation = Evaluation(names, np.array([0, 1, 2]), np.eye(3), ["a", "b", "c"])

    assert [row["f1"] for row in evaluation.per_class()] == [1, 1, 1]
    assert [row["class"] for row in evaluation.per_class()] == names
