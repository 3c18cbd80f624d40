"""Predictions on labeled images and the metrics computed from them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

from cnn_classifier.files import write_csv
from cnn_classifier.report.metrics.calibration import apply_temperature, calibration_report, cross_entropy
from cnn_classifier.report.metrics.coverage import selective_accuracy
from cnn_classifier.report.metrics.curves import binary_curves
from cnn_classifier.report.metrics.intervals import macro_f1_interval, wilson_interval
from cnn_classifier.report.metrics.predictions import find_rejection_reasons, write_predictions

METRICS = ("precision", "recall", "f1")
TOP_K = 5
LABEL_ERROR_CONFIDENCE = 0.95  # a mistake with at least this probability is a suspected label error
MAX_CONFUSED_PAIRS, MAX_LABEL_ERRORS = 100, 500  # entries in `report.json`


@dataclass(frozen=True)
class Evaluation:
    """The predictions on a set of labeled images.

    Args:
        class_names: The name of each class; labels are indices into it.
        labels: The true classes, int64 (N,).
        probabilities: The predicted probabilities, float64 (N, K).
        paths: The path of each image.
        unreadable: The excluded files, with the reason.
        temperature: The softmax temperature of the probabilities.
        threshold: The minimum probability of the predicted class. Predictions below it are rejected.
        in_distribution: The mask of in-distribution images, bool (N,). None accepts all images.
        notes: Messages about the reading of the images.
        digests: The SHA-256 of each image file; empty if unknown.
        split: The split of the images: `test`, `val`, or `out_of_fold` for the test splits of all folds.
    """

    class_names: Sequence[str]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    paths: Sequence[str]
    unreadable: dict[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    threshold: float = 0.0
    in_distribution: npt.NDArray[np.bool_] | None = None
    notes: Sequence[str] = ()
    digests: Sequence[str] = ()
    split: str = "test"

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The predicted class of each image, (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def folder(self) -> str:
        """The deepest common folder of the images."""
        return os.path.commonpath([Path(path).parent for path in self.paths])

    @cached_property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The probability of the predicted class of each image, (N,)."""
        return self.probabilities.max(axis=1)

    @cached_property
    def uncalibrated(self) -> npt.NDArray[np.float64]:
        """The probabilities at temperature 1, (N, K)."""
        return apply_temperature(self.probabilities, 1 / self.temperature)

    @cached_property
    def confusion_matrix(self) -> npt.NDArray[np.int64]:
        """The confusion matrix with true classes as rows and predicted classes as columns, (K, K)."""
        return confusion_matrix(self.labels, self.predicted, labels=range(len(self.class_names)))

    def precision_recall_f1(self, average: str | None) -> Any:
        """Return precision, recall, F1 and support, averaged over the classes that have images, or per class."""
        labels = np.unique(self.labels) if average else range(len(self.class_names))
        return precision_recall_fscore_support(
            self.labels, self.predicted, labels=labels, average=average, zero_division=0
        )

    def scores(self) -> dict[str, float]:
        """Return the scores of the calibrated probabilities: loss, accuracy, macro and weighted averages.

        `loss_uncalibrated` is the loss at temperature 1, which training logs as `val/loss`. With more than 5 classes,
        the top-5 accuracy is added. There are no scores without images.
        """
        if not len(self.labels):
            return {}
        scores = {
            "loss": cross_entropy(self.labels, self.probabilities),
            "loss_uncalibrated": cross_entropy(self.labels, self.uncalibrated),
            "accuracy": float((self.predicted == self.labels).mean()),
        }
        for average in ("macro", "weighted"):
            means = self.precision_recall_f1(average)[:3]
            scores |= {
                f"{name}_{average}": float(mean)
                for name, mean in zip(("precision", "recall", "f1"), means, strict=True)
            }
        num_classes = len(self.class_names)
        if num_classes > TOP_K:
            scores["top_5_accuracy"] = float(
                top_k_accuracy_score(self.labels, self.probabilities, k=TOP_K, labels=range(num_classes))
            )
        return scores

    def per_class(self) -> list[dict[str, Any]]:
        """Return precision, recall, F1 and support of each class; the metrics of a class without images are None."""
        rows = []
        for name, *scores, support in zip(self.class_names, *self.precision_recall_f1(None), strict=True):
            metrics = {key: float(value) if support else None for key, value in zip(METRICS, scores, strict=True)}
            rows.append({"class": name, **metrics, "support": int(support)})
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics for `report.json`; with two classes the second one is the positive class.

        `evaluated` is the split that they are measured on, None without images. `test` is None if it is another one.
        """
        content: dict[str, Any] = {"test": None, "evaluated": None, "class_names": list(self.class_names)}
        content |= {"unreadable": self.unreadable, "notes": list(self.notes)}
        scores = self.scores()
        if not scores:
            return content
        content |= {
            "evaluated": self.split,
            self.split: scores,
            "per_class": self.per_class(),
            "confusion_matrix": self.confusion_matrix.tolist(),
            "intervals": {
                "accuracy": list(wilson_interval(scores["accuracy"], len(self.labels))),
                "f1_macro": list(macro_f1_interval(self.confusion_matrix)),
            },
            "calibration": calibration_report(self.labels, self.uncalibrated, self.probabilities, self.temperature),
            "coverage": selective_accuracy(self.labels, self.probabilities, self.threshold, self.in_distribution),
            "confused_pairs": self.confused_pairs(),
            "suspected_label_errors": [
                {
                    "path": self.paths[index],
                    "label": self.class_names[self.labels[index]],
                    "predicted": self.class_names[self.predicted[index]],
                    "probability": float(self.confidence[index]),
                }
                for index in self.suspected_label_errors()[:MAX_LABEL_ERRORS]
            ],
        }
        if len(self.class_names) == 2:
            content["positive_class"] = self.per_class()[1]
            content["curves"] = binary_curves(self.labels, self.probabilities[:, 1])
        return content

    def confused_pairs(self) -> list[dict[str, Any]]:
        """Return the pairs of confused classes, most frequent first, with the `fraction` of the true class."""
        matrix = self.confusion_matrix
        off_diagonal = matrix * ~np.eye(len(matrix), dtype=bool)
        order = np.argsort(-off_diagonal, axis=None, kind="stable")[:MAX_CONFUSED_PAIRS]
        pairs = zip(*np.unravel_index(order, off_diagonal.shape), strict=True)
        return [
            {
                "class": self.class_names[true],
                "predicted": self.class_names[predicted],
                "images": int(off_diagonal[true, predicted]),
                "fraction": float(off_diagonal[true, predicted] / matrix[true].sum()),
            }
            for true, predicted in pairs
            if off_diagonal[true, predicted]
        ]

    def mistakes(self) -> npt.NDArray[np.int64]:
        """Return the indices of the misclassified images in descending order of confidence."""
        mistakes = np.flatnonzero(self.predicted != self.labels)
        return mistakes[np.argsort(-self.confidence[mistakes], kind="stable")]

    def suspected_label_errors(self) -> npt.NDArray[np.int64]:
        """Return the indices of the mistakes with at least `LABEL_ERROR_CONFIDENCE`, in descending order."""
        mistakes = self.mistakes()
        return mistakes[self.confidence[mistakes] >= LABEL_ERROR_CONFIDENCE]

    def least_confident(self) -> npt.NDArray[np.int64]:
        """Return the indices of all images in ascending order of confidence."""
        return np.argsort(self.confidence, kind="stable")

    def write_tables(self, folder: Path) -> None:
        """Write `confusion_matrix.csv` and `predictions.csv`."""
        names = np.array(self.class_names, object)
        matrix = [(name, *row) for name, row in zip(names, self.confusion_matrix, strict=True)]
        write_csv(folder / "confusion_matrix.csv", [("true \\ predicted", *names), *matrix])
        reasons = find_rejection_reasons(self.confidence, self.threshold, self.in_distribution)
        columns = (self.paths, names[self.labels], names[self.predicted], self.confidence, reasons)
        write_predictions(folder, zip(*columns, strict=True))
