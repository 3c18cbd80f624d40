"""What a classifier answered on labelled images, and the scores that follow from it."""

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
from cnn_classifier.report.metrics.calibration import apply_temperature, calibration_report, selective_accuracy
from cnn_classifier.report.metrics.curves import binary_curves
from cnn_classifier.report.metrics.intervals import macro_f1_interval, wilson_interval
from cnn_classifier.report.text_table import format_table

TOP_K = 5
LABEL_ERROR_CONFIDENCE = 0.95  # of another class than the label says, from here on the label itself is suspected
MAX_CONFUSED_PAIRS, MAX_LABEL_ERRORS = 100, 500  # that are listed


@dataclass(frozen=True)
class Evaluation:
    """The answers on a set of labelled images.

    Args:
        class_names: Name of each class; a label is an index into them.
        labels: int64 (N,), the true classes.
        probabilities: float64 (N, K).
        paths: The N files.
        unreadable: Files left out, with the reason.
        temperature: What the logits behind the probabilities were divided by.
        threshold: Below this probability of the likeliest class the model would answer `unknown`.
        familiar: Which images are familiar enough to be answered, (N,); None for all.
    """

    class_names: Sequence[str]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    paths: Sequence[str]
    unreadable: dict[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    threshold: float = 0.0
    in_distribution: npt.NDArray[np.bool_] | None = None

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The likeliest class of each image, (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def folder(self) -> str:
        """The folder that holds all of the images."""
        return os.path.commonpath([Path(path).parent for path in self.paths])

    @cached_property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The probability of the likeliest class of each image, (N,)."""
        return self.probabilities.max(axis=1)

    @cached_property
    def uncalibrated(self) -> npt.NDArray[np.float64]:
        """The probabilities at temperature 1, (N, K)."""
        return apply_temperature(self.probabilities, 1 / self.temperature)

    @cached_property
    def confusion_matrix(self) -> npt.NDArray[np.int64]:
        """How often each true class (row) was called each class (column), (K, K)."""
        return confusion_matrix(self.labels, self.predicted, labels=range(len(self.class_names)))

    def precision_recall_f1(self, average: str | None) -> Any:
        """Precision, recall, F1 and support, averaged or one a class; what is undefined counts as 0."""
        # Averages are over the classes that occur: a folder may hold some of the checkpoint's classes only.
        labels = None if average else range(len(self.class_names))
        return precision_recall_fscore_support(
            self.labels, self.predicted, labels=labels, average=average, zero_division=0
        )

    def scores(self) -> dict[str, float]:
        """Headline numbers: loss, accuracy, macro and weighted averages, top-5 accuracy above 5 classes."""
        true_class_probabilities = self.probabilities[np.arange(len(self.labels)), self.labels]
        scores = {
            "loss": float(-np.log(np.maximum(true_class_probabilities, 1e-15)).mean()),
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
        """Precision, recall, F1 and number of images of each class."""
        columns = zip(*self.precision_recall_f1(None), strict=True)
        return [
            {"class": name, "precision": float(p), "recall": float(r), "f1": float(f1), "support": int(support)}
            for name, (p, r, f1, support) in zip(self.class_names, columns, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything that `report.json` says of the answers; with two classes the second is the positive one."""
        scores = self.scores()
        content: dict[str, Any] = {
            "test": scores,
            "per_class": self.per_class(),
            "confusion_matrix": self.confusion_matrix.tolist(),
            "class_names": list(self.class_names),
            "unreadable": self.unreadable,
            "intervals": {
                "accuracy": list(wilson_interval(scores["accuracy"], len(self.labels))),
                "f1_macro": list(macro_f1_interval(self.confusion_matrix)),
            },
            "calibration": calibration_report(self.labels, self.uncalibrated, self.probabilities, self.temperature),
            "coverage": selective_accuracy(self.labels, self.probabilities, self.threshold, self.in_distribution),
            "confused_pairs": self.confused_pairs(),
            "suspected_labels": [
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
        """The classes called another, the most images first; `share` is of the true class."""
        matrix = self.confusion_matrix
        off_diagonal = matrix * ~np.eye(len(matrix), dtype=bool)
        pairs = zip(
            *np.unravel_index(
                np.argsort(-off_diagonal, axis=None, kind="stable")[:MAX_CONFUSED_PAIRS], off_diagonal.shape
            ),
            strict=True,
        )
        return [
            {
                "class": self.class_names[true],
                "predicted": self.class_names[predicted],
                "images": int(off_diagonal[true, predicted]),
                "share": float(off_diagonal[true, predicted] / matrix[true].sum()),
            }
            for true, predicted in pairs
            if off_diagonal[true, predicted]
        ]

    def mistakes(self) -> npt.NDArray[np.int64]:
        """Indices of the images got wrong, the surest mistakes first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def suspected_label_errors(self) -> npt.NDArray[np.int64]:
        """Indices of the mistakes that it is so sure of that the label may be what is wrong, the surest first."""
        wrong = self.mistakes()
        return wrong[self.confidence[wrong] >= LABEL_ERROR_CONFIDENCE]

    def least_confident(self) -> npt.NDArray[np.int64]:
        """Indices of all images, those it was least sure of first."""
        return np.argsort(self.confidence, kind="stable")

    def format(self) -> str:
        """The scores and the per-class table, for a terminal."""
        score_line = "  ".join(f"{name} {value:.4f}" for name, value in self.scores().items() if "weighted" not in name)
        rows = [
            (row["class"], *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), str(row["support"]))
            for row in self.per_class()
        ]
        table = format_table([("class", "precision", "recall", "f1", "images"), *rows], right_align=range(1, 5))
        return f"{score_line}\n\n{table}"

    def write_tables(self, folder: Path) -> None:
        """Write `confusion_matrix.csv` and `predictions.csv`."""
        class_names = self.class_names
        matrix = [(name, *row) for name, row in zip(class_names, self.confusion_matrix, strict=True)]
        write_csv(folder / "confusion_matrix.csv", [("true \\ predicted", *class_names), *matrix])
        records = zip(self.paths, self.labels, self.predicted, self.probabilities, strict=True)
        rows = [
            (path, class_names[label], class_names[predicted], f"{row[predicted]:.6f}")
            for path, label, predicted, row in records
        ]
        write_csv(folder / "predictions.csv", [("path", "label", "predicted", "probability"), *rows])
