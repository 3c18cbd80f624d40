"""Metrics of predictions compared with values computed by hand."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cnn_classifier.report.console import format_evaluation
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.training.task import StageMetrics


def evaluate_pets(labels: list[int], dog_probabilities: list[float]) -> Evaluation:
    probabilities = np.column_stack([1 - np.array(dog_probabilities), dog_probabilities])
    paths = [f"{index}.png" for index in range(len(labels))]
    return Evaluation(["cats", "dogs"], np.array(labels), probabilities, paths, {"x.png": "cannot identify image file"})


@pytest.fixture
def pets() -> Evaluation:
    """Return predictions for three cats, of which one is predicted as a dog, and two dogs, both correct."""
    return evaluate_pets([0, 0, 0, 1, 1], [0.1, 0.3, 0.8, 0.6, 0.9])


def evaluate_classes(num_classes: int) -> Evaluation:
    """Return predictions for one image per class, in which the true class has rank 3."""
    eye = np.eye(num_classes)
    probabilities = 0.01 + 0.3 * eye + 0.5 * np.roll(eye, 1, axis=1) + 0.4 * np.roll(eye, 2, axis=1)
    names = [f"class {label}" for label in range(num_classes)]
    return Evaluation(names, np.arange(num_classes), probabilities, names)


def test_scores_match_hand_computed_values(pets: Evaluation) -> None:
    assert pets.scores() == pytest.approx(
        {
            "loss": -np.log([0.9, 0.7, 0.2, 0.6, 0.9]).mean(),
            "loss_uncalibrated": -np.log([0.9, 0.7, 0.2, 0.6, 0.9]).mean(),
            "accuracy": 4 / 5,
            "precision_macro": (1 + 2 / 3) / 2,
            "recall_macro": (2 / 3 + 1) / 2,
            "f1_macro": 0.8,
            "precision_weighted": (3 * 1 + 2 * 2 / 3) / 5,
            "recall_weighted": 0.8,
            "f1_weighted": 0.8,
        }
    )


def test_per_class_metrics_and_positive_class_of_binary_classification(pets: Evaluation) -> None:
    cats, dogs = (list(row.values()) for row in pets.per_class())
    assert cats == ["cats", 1, pytest.approx(2 / 3), pytest.approx(0.8), 3]
    assert dogs == ["dogs", pytest.approx(2 / 3), 1, pytest.approx(0.8), 2]
    assert list(pets.per_class()[0]) == ["class", "precision", "recall", "f1", "support"]
    assert pets.to_dict()["positive_class"] == pets.per_class()[1]
    assert "positive_class" not in evaluate_classes(3).to_dict()


def test_metrics_of_never_predicted_class_are_zero() -> None:
    evaluation = evaluate_pets([0, 1], [0.0, 0.0])
    assert evaluation.per_class()[1] == {"class": "dogs", "precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert np.isfinite(evaluation.scores()["loss"])


def test_top_5_accuracy_requires_more_than_5_classes() -> None:
    assert "top_5_accuracy" not in evaluate_classes(5).scores()
    assert evaluate_classes(6).scores()["top_5_accuracy"] == 1
    assert evaluate_classes(6).scores()["accuracy"] == 0


def test_mistakes_are_sorted_by_descending_confidence() -> None:
    assert evaluate_pets([0, 0, 0, 1, 0], [0.6, 0.1, 0.9, 0.2, 0.7]).mistakes().tolist() == [2, 3, 4, 0]


def test_to_dict_is_json_serializable_and_contains_unreadable_files(pets: Evaluation) -> None:
    content = pets.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["confusion_matrix"] == [[2, 1], [0, 2]]
    assert content["unreadable"] == {"x.png": "cannot identify image file"}


def test_format_shows_scores_and_one_row_per_class(pets: Evaluation) -> None:
    scores, interval, _, head, cats, dogs = format_evaluation(pets.to_dict()).splitlines()
    assert interval == "95 % interval of the accuracy: 0.3755 to 0.9638 (5 images)"
    assert "accuracy 0.8000" in scores
    assert head.split() == ["class", "precision", "recall", "f1", "images"]
    assert cats.split() == ["cats", "1.0000", "0.6667", "0.8000", "3"]
    assert len(head) == len(cats) == len(dogs)


def test_class_without_images_has_no_metrics_and_is_not_averaged() -> None:
    evaluation = evaluate_classes(3)
    probabilities = np.array([[0.1, 0.9, 0], [0.9, 0.1, 0], [0.2, 0.1, 0.7]])
    evaluation = replace(evaluation, labels=np.array([0, 0, 2]), probabilities=probabilities)  # one predicted as 1
    assert evaluation.per_class()[1] == {
        "class": "class 1",
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }
    scores, low_high = evaluation.scores(), evaluation.to_dict()["intervals"]["f1_macro"]
    assert (scores["recall_macro"], scores["f1_macro"]) == (pytest.approx(0.75), pytest.approx((2 / 3 + 1) / 2))
    assert low_high[0] <= scores["f1_macro"] <= low_high[1]
    assert format_evaluation(evaluation.to_dict()).splitlines()[5].split() == ["class", "1", "-", "-", "-", "0"]
    metrics = StageMetrics(3, ["f1_macro"])
    metrics.update(torch.zeros(()), torch.tensor(probabilities), torch.tensor([0, 0, 2]))
    assert metrics.metrics["f1_macro"].compute() == pytest.approx(scores["f1_macro"])  # type: ignore[operator]


def test_write_tables_writes_matrix_and_predictions_as_csv(pets: Evaluation, tmp_path: Path) -> None:
    pets.write_tables(tmp_path)
    matrix, predictions = (
        list(csv.reader((tmp_path / name).read_text(encoding="utf-8").splitlines()))
        for name in ("confusion_matrix.csv", "predictions.csv")
    )
    assert matrix == [["true \\ predicted", "cats", "dogs"], ["cats", "2", "1"], ["dogs", "0", "2"]]
    assert predictions[0] == ["path", "label", "predicted", "probability", "rejected", "rejection_reason"]
    assert predictions[3] == ["2.png", "cats", "dogs", "0.800000", "false", ""]
    assert len(predictions) == 6
    in_distribution = np.array([True, True, True, False, True])
    replace(pets, threshold=0.75, in_distribution=in_distribution).write_tables(tmp_path)
    with (tmp_path / "predictions.csv").open() as file:
        reasons = [row["rejection_reason"] for row in csv.DictReader(file)]
    assert reasons == ["", "low_confidence", "", "out_of_distribution", ""]


def test_class_names_equal_to_average_names_are_supported() -> None:
    names = ["accuracy", "macro avg", "$_$"]
    evaluation = Evaluation(names, np.array([0, 1, 2]), np.eye(3), ["a", "b", "c"])

    assert [row["f1"] for row in evaluation.per_class()] == [1, 1, 1]
    assert [row["class"] for row in evaluation.per_class()] == names
