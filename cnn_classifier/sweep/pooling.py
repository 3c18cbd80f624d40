"""The result of a cross-validation: pooled out-of-fold predictions, one model and one report."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.config.compose import Config, set_values
from cnn_classifier.config.saved import inherit_resolved_values, load_saved_config
from cnn_classifier.data import AUTO
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.files import BEST_CHECKPOINT, CONFIG_FILE, ENVIRONMENT_FILE, SPLIT_FILE, write_json
from cnn_classifier.models.validation import PRETRAINED_TARGET
from cnn_classifier.training.status import read_status

if TYPE_CHECKING:
    from cnn_classifier.data.datamodule import ImageFolderDataModule
    from cnn_classifier.inference.ensemble import OutOfFold
    from cnn_classifier.run import TrainResult

FOLD_DIR = "fold_{}"
OUT_OF_FOLD_CSV = "out_of_fold.csv"
# The preprocessing of the first fold, which all folds use, because networks are averaged only if they get the same
# pixels. It is measured on the training images of that fold; a few numbers tell nothing about a held-out image.
SHARED_KEYS = ("image_size", "mean", "std", "value_range")


def share_values(config: Config, fold_dir: Path) -> None:
    """Use the resolved values and the preprocessing of the first fold for all folds, except for the number of epochs.

    With `model=auto`, the other folds train the kind of network that is the best one of the first fold.
    """
    from cnn_classifier.training.checkpoints import read_checkpoint

    hparams, values = read_checkpoint(fold_dir)["hyper_parameters"], {"trainer.max_epochs": config.trainer.max_epochs}
    if config.model._target_ == AUTO:
        values["model.stages"] = ["fine-tuning" if hparams["model"]["_target_"] == PRETRAINED_TARGET else "scratch"]
    else:
        inherit_resolved_values(config, fold_dir / CONFIG_FILE)
    preprocess = hparams["preprocess"]
    set_values(config, values | {f"dataset.{key}": preprocess[key] for key in SHARED_KEYS if preprocess.get(key)})


def pool_folds(config: Config, index: DatasetIndex, overrides: Sequence[str], start_time: float) -> "TrainResult":
    """Write the pooled predictions, the ensemble of the networks of all folds and the report.

    Args:
        config: The configuration of the cross-validation, with the values that the first fold has resolved.
        index: The scanned dataset.
        overrides: The command-line overrides.
        start_time: The start of the command in seconds since the epoch.
    """
    from cnn_classifier.data.splits.split_csv import read_split, write_split
    from cnn_classifier.inference.ensemble import predict_out_of_fold, save_ensemble
    from cnn_classifier.run import TrainResult
    from cnn_classifier.training.build import build_datamodule
    from cnn_classifier.training.environment import collect_environment

    run_dir, trusted = Path(config.run_dir), [config.model._target_]
    folders = [run_dir / FOLD_DIR.format(fold) for fold in range(config.dataset.folds)]
    datamodule = build_datamodule(Config(load_saved_config(folders[0] / CONFIG_FILE)), index)
    splits = [read_split(folder / SPLIT_FILE, index) for folder in folders]
    held_out = "val" if any(sample.split == "test" for sample in index.samples) else "test"
    checkpoints = [folder / BEST_CHECKPOINT for folder in folders]
    groups = [split[held_out] for split in splits]
    out_of_fold = predict_out_of_fold(checkpoints, datamodule.prepared.store, groups, trusted)
    out_of_fold.write_csv(run_dir / OUT_OF_FOLD_CSV)
    save_ensemble(run_dir / BEST_CHECKPOINT, checkpoints, out_of_fold)
    test = splits[0]["test"] if held_out == "val" else []
    used = {"train": [s for name in splits[0] for s in splits[0][name] if name == held_out or name != "test"]}
    used |= {"test": test} if test else {}
    write_split(run_dir / SPLIT_FILE, used, index, datamodule.prepared.digests)
    info = collect_environment(overrides)
    write_json(run_dir / ENVIRONMENT_FILE, info)
    info |= summarize_folds(folders, out_of_fold)
    report = write_folds_report(run_dir, datamodule, out_of_fold, used, info, start_time, trusted)
    return TrainResult(run_dir / BEST_CHECKPOINT, report, run_dir)


def summarize_folds(folders: Sequence[Path], out_of_fold: "OutOfFold") -> dict[str, Any]:
    """Return the mean and standard deviation over the folds of each metric, and the mean of the validation metrics.

    Args:
        folders: The run directory of each fold.
        out_of_fold: The out-of-fold predictions.
    """
    scores = out_of_fold.scores_of_folds()
    statuses = [status for folder in folders if (status := read_status(folder))]
    values = {"accuracy": [s.val_accuracy for s in statuses], "loss": [s.val_loss for s in statuses]}
    val = {
        name: statistics.fmean(v for v in numbers if v is not None)
        for name, numbers in values.items()
        if None not in numbers
    }
    metrics = {
        name: {"mean": statistics.fmean(numbers), "std": statistics.stdev(numbers), "folds": numbers}
        for name, numbers in ((name, [score[name] for score in scores]) for name in scores[0])
    }
    return {"val": val or None, "folds": {"count": len(folders), "metrics": metrics}}


def write_folds_report(
    run_dir: Path,
    datamodule: "ImageFolderDataModule",
    out_of_fold: "OutOfFold",
    used: Mapping[str, Sequence[Sample]],
    info: dict[str, Any],
    start_time: float,
    trusted: Sequence[str],
) -> dict[str, Any]:
    """Write the report of the test images, if there are any, or else of the out-of-fold images."""
    from cnn_classifier.inference.evaluate import evaluate_images, explain_predictions
    from cnn_classifier.inference.predictor import Predictor
    from cnn_classifier.report.write import write_report, write_samples

    predictor = Predictor.load(run_dir / BEST_CHECKPOINT, trusted=trusted)
    pooled, prepared = out_of_fold.evaluation, datamodule.prepared
    shown = evaluate_images(predictor, prepared.store, used["test"]) if "test" in used else pooled
    write_samples(run_dir, used["train"], datamodule.class_names, datamodule.preprocess.load)
    counts = {split: Counter(sample.label for sample in samples) for split, samples in used.items()}
    info["folds"] |= {"interval": pooled.to_dict()["intervals"]["accuracy"]}
    return write_report(
        run_dir,
        shown,
        datamodule.preprocess,
        partial(explain_predictions, predictor),
        start_time,
        splits={split: [c[label] for label in range(datamodule.num_classes)] for split, c in counts.items()},
        data={key: value for key, value in prepared.summary.items() if key != "shapes"},
        epochs=[],
        checkpoint=BEST_CHECKPOINT.as_posix(),
        out_of_fold=pooled.scores(),
        **info,
    )
