"""The networks of the folds of a cross-validation: their pooled predictions, and one checkpoint of their ensemble."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_classifier.config.instantiate import without_pretrained_weights
from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.errors import CheckpointError
from cnn_classifier.files import write_csv
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.backends.pytorch import read_feature_bank
from cnn_classifier.inference.calibrate import without_calibration
from cnn_classifier.inference.evaluate import predict_samples
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.models.ensemble import Ensemble
from cnn_classifier.report.metrics.calibration import Calibration, apply_temperature, calibrate
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.training.checkpoints import ChecksummedCheckpointIO, add_calibration, read_checkpoint

NETWORK_PREFIX = "network."
TARGET = f"{Ensemble.__module__}.{Ensemble.__name__}"
# Entries of a Lightning checkpoint that `load_from_checkpoint` reads.
LIGHTNING_KEYS = ("epoch", "global_step", "pytorch-lightning_version")


@dataclass(frozen=True)
class OutOfFold:
    """The predictions of each fold's network on the images that it was not trained on.

    Args:
        evaluation: The pooled predictions. Their temperature and threshold are fitted on themselves: with one parameter
            each for all images, this is hardly optimistic.
        folds: The fold of each image, int64 (N,).
        min_similarity: The minimum similarity of the first fold, whose feature bank the ensemble has.
    """

    evaluation: Evaluation
    folds: npt.NDArray[np.int64]
    min_similarity: float | None

    def scores_of_folds(self) -> list[dict[str, float]]:
        """Return the scores of the images of each fold."""
        return [self.select(self.folds == fold).scores() for fold in np.unique(self.folds)]

    def select(self, mask: npt.NDArray[np.bool_]) -> Evaluation:
        """Return the evaluation of some of the images."""
        evaluation = self.evaluation
        paths = np.array(evaluation.paths, object)[mask].tolist()
        labels, probabilities = evaluation.labels[mask], evaluation.probabilities[mask]
        return replace(evaluation, labels=labels, probabilities=probabilities, paths=paths, in_distribution=None)

    def write_csv(self, path: Path) -> None:
        """Write path, class, fold, predicted class and the probability of each class, one row per image."""
        evaluation, names = self.evaluation, np.array(self.evaluation.class_names, object)
        columns = (evaluation.paths, names[evaluation.labels], self.folds, names[evaluation.predicted])
        header = ["path", "label", "fold", "prediction", *(f"probability_{name}" for name in names)]
        rows = zip(*columns, evaluation.probabilities, strict=True)
        write_csv(path, [header, *([*cells, *(f"{p:.6f}" for p in probabilities)] for *cells, probabilities in rows)])


def predict_out_of_fold(
    checkpoints: Sequence[Path], images: ImageStore, held_out: Sequence[Sequence[Sample]], trusted: Sequence[str] = ()
) -> OutOfFold:
    """Predict the images that each fold held out with the network of that fold.

    Args:
        checkpoints: The best checkpoint of each fold.
        images: The preprocessed pixels of all images.
        held_out: The images that each fold held out.
        trusted: Import prefixes of network classes of your own.
    """
    outputs, in_distribution = [], []
    for path, samples in zip(checkpoints, held_out, strict=True):
        predictor = Predictor.load(path, trusted=trusted)
        outputs.append(predict_samples(without_calibration(predictor), images, samples))
        in_distribution.append(outputs[-1].similarity >= (predictor.metadata.min_similarity or -1))
    first = Predictor.load(checkpoints[0], trusted=trusted).metadata
    samples = [sample for group in held_out for sample in group]
    labels, probabilities = np.array([s.label for s in samples], np.int64), ModelOutput.concatenate(outputs)[0]
    calibration = calibrate(labels, probabilities, first.min_similarity)
    evaluation = Evaluation(
        class_names=first.class_names,
        labels=labels,
        probabilities=apply_temperature(probabilities, calibration.temperature),
        paths=[str(sample.path) for sample in samples],
        temperature=calibration.temperature,
        threshold=calibration.threshold,
        in_distribution=np.concatenate(in_distribution),
        split="out_of_fold",
    )
    folds = np.repeat(np.arange(len(held_out)), [len(group) for group in held_out])
    return OutOfFold(evaluation, folds, first.min_similarity)


def save_ensemble(path: Path, checkpoints: Sequence[Path], out_of_fold: OutOfFold) -> None:
    """Write a checkpoint of the ensemble of several checkpoints, calibrated on their out-of-fold predictions.

    Args:
        path: The file to write.
        checkpoints: The best checkpoint of each fold.
        out_of_fold: The out-of-fold predictions.

    Raises:
        CheckpointError: If the networks have different classes or different preprocessing.
    """
    members = [read_checkpoint(member) for member in checkpoints]
    first, hparams = members[0], dict(members[0]["hyper_parameters"])
    for member, source in zip(members, checkpoints, strict=True):
        for key in ("class_names", "preprocess"):
            if member["hyper_parameters"][key] != hparams[key]:
                raise CheckpointError(
                    f"{source} has {key} {member['hyper_parameters'][key]}, but {checkpoints[0]} has {hparams[key]}; "
                    "expected the same in all folds: start a new run"
                )
    models = [without_pretrained_weights(member["hyper_parameters"]["model"]) for member in members]
    # Without the place where the weights once came from.
    networks = [{key: value for key, value in model.items() if key != "weights"} for model in models]
    hparams["model"] = {"_target_": TARGET, "members": networks}
    weights = {key: value for key, value in first["state_dict"].items() if not key.startswith(NETWORK_PREFIX)}
    for number, member in enumerate(members):
        weights |= {
            f"{NETWORK_PREFIX}members.{number}.{key.removeprefix(NETWORK_PREFIX)}": value
            for key, value in member["state_dict"].items()
            if key.startswith(NETWORK_PREFIX)
        }
    content = {"hyper_parameters": hparams, "state_dict": weights} | {key: first[key] for key in LIGHTNING_KEYS}
    ChecksummedCheckpointIO().save_checkpoint(content, path)
    evaluation = out_of_fold.evaluation
    calibration = Calibration(evaluation.temperature, evaluation.threshold, out_of_fold.min_similarity)
    add_calibration(path, asdict(calibration), read_feature_bank(first))
