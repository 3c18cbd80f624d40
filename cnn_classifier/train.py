"""The spine: from a scanned folder to a tested checkpoint. Read this file to know what a training is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

from cnn_classifier.auto.resolve import resolve_auto
from cnn_classifier.config.compose import Config, save_config, set_values, to_container
from cnn_classifier.data.checks.suggestions import training_warnings
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.data.splits.split_csv import write_split
from cnn_classifier.files import BEST_CHECKPOINT, check_free_space, ensure_writable_dir, write_json
from cnn_classifier.inference.calibrate import calibrate_checkpoint
from cnn_classifier.inference.evaluate import evaluate_images, explain_predictions
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.write import write_report, write_samples
from cnn_classifier.training.build import (
    build_datamodule,
    build_module,
    build_trainer,
)
from cnn_classifier.training.callbacks.epoch_logger import EpochLogger
from cnn_classifier.training.callbacks.nan_guard import NaNGuard
from cnn_classifier.training.callbacks.status import StatusWriter
from cnn_classifier.training.checkpoints import estimate_checkpoint_bytes
from cnn_classifier.training.devices import tune_malloc
from cnn_classifier.training.distributed import broadcast_from_rank_zero, get_rank
from cnn_classifier.training.environment import collect_environment, ignore_known_warnings
from cnn_classifier.training.resume import apply_resume, check_same_images, init_weights
from cnn_classifier.training.status import run_lock
from cnn_classifier.training.trainer import fit, get_best_checkpoint


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves behind.

    Args:
        checkpoint: The best weights, all that prediction needs.
        report: The content of `report.json`; empty in all processes but the first.
        run_dir: The folder of the run.
    """

    checkpoint: Path
    report: dict[str, Any]
    run_dir: Path


def train(config: Config, scan: DatasetIndex | None = None, *, overrides: Sequence[str] = ()) -> TrainResult:
    """Fit the configured network on the scanned images, then test its best checkpoint.

    Args:
        config: As `config.load()` composes it.
        scan: What `scan_source` found, if that was asked before; the command does so, before it imports torch.
        words: What the command changed, for `status.json`.

    Raises:
        ClassifierError: If the configuration, the data or a checkpoint to resume cannot be used, the loss diverges, or
            another run holds the folder.
    """
    start_time = time.perf_counter()
    ignore_known_warnings()
    tune_malloc()
    scan = scan or scan_source(DatasetConfig(**to_container(config.dataset)))
    ckpt_path, messages = resolve_config(config, scan)
    seed_everything(config.seed, verbose=False)
    run_dir = Path(config.run_dir)
    datamodule = build_datamodule(config, scan)
    datamodule.decode()
    if ckpt_path is not None:
        check_same_images(run_dir, datamodule.splits, scan)
    module = build_module(config, datamodule)
    init_weights(module, ckpt_path)
    epoch_logger = EpochLogger(run_dir)
    trainer = build_trainer(config, module, [epoch_logger, StatusWriter(run_dir, overrides), NaNGuard(run_dir)])
    if get_rank() > 0:
        fit(trainer, module, datamodule, ckpt_path)
        return TrainResult(run_dir / BEST_CHECKPOINT, {}, run_dir)
    check_free_space(
        ensure_writable_dir(run_dir), estimate_checkpoint_bytes(module), "free space there or choose another run_dir"
    )
    with run_lock(run_dir):
        write_run_files(run_dir, config, datamodule, ckpt_path, messages)
        fit_start_time = time.perf_counter()
        fit(trainer, module, datamodule, ckpt_path)
        fit_end_time = time.perf_counter()

        best_path = get_best_checkpoint(trainer, run_dir)
        load_predictor = partial(
            Predictor.load, best_path, device=str(trainer.strategy.root_device), trusted=[config.model._target_]
        )
        evaluations = evaluate_best(best_path, load_predictor, datamodule, flip=config.test_time_flip)
        timing = {
            "prepare_seconds": fit_start_time - start_time,
            "fit_seconds": fit_end_time - fit_start_time,
            "train_images_per_second": epoch_logger.images_per_second,
            "total_seconds": time.perf_counter() - start_time,
        }
        content = write_run_report(
            run_dir,
            load_predictor(),
            datamodule,
            evaluations,
            epochs=epoch_logger.history,
            timing=timing,
            checkpoint=str(best_path),
        )
    return TrainResult(best_path, content, run_dir)


def resolve_config(config: Config, scan: DatasetIndex) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from and the reasons for what was `auto`, the same in all processes of a training."""

    def resolve_on_rank_zero() -> tuple[Path | None, list[str], dict[str, Any]]:
        ckpt_path = apply_resume(config)
        return ckpt_path, resolve_auto(config, scan), to_container(config)

    ckpt_path, messages, values = broadcast_from_rank_zero(resolve_on_rank_zero)
    if get_rank() > 0:
        set_values(config, values)
    return ckpt_path, messages


def write_run_files(
    run_dir: Path, config: Config, datamodule: ImageFolderDataModule, ckpt_path: Path | None, messages: list[str]
) -> None:
    """Write down what is about to run: from here on the run has a folder."""
    save_config(config, run_dir / "config.yaml")
    write_json(run_dir / "environment.json", collect_environment())
    write_split(run_dir / "split.csv", datamodule.splits, datamodule.scan)
    split_sizes = " · ".join(f"{split} {len(samples)}" for split, samples in datamodule.splits.items())
    print(
        f"{config.dataset.name}: {split_sizes} images in {len(datamodule.class_names)} classes",
        *training_warnings(datamodule.summary),
        sep="\n",
    )
    if ckpt_path is not None:
        print(f"resuming from {ckpt_path}")
    print(*messages, sep="\n")


def evaluate_best(
    best_path: Path, load_predictor: Callable[[], Predictor], datamodule: ImageFolderDataModule, *, flip: bool
) -> dict[str, Evaluation]:
    """The answers on validation images, which tell how sure it may be, and on test images, how good it is."""
    image_store, splits = datamodule.ready.store, datamodule.splits
    val_evaluation = calibrate_checkpoint(best_path, load_predictor(), image_store, splits["val"])
    evaluations = {"val": val_evaluation, "test": evaluate_images(load_predictor(), image_store, splits["test"])}
    if flip:
        evaluations["test_flip"] = evaluate_images(load_predictor(), image_store, splits["test"], flip=True)
    return evaluations


def write_run_report(
    run_dir: Path,
    predictor: Predictor,
    datamodule: ImageFolderDataModule,
    evaluations: dict[str, Evaluation],
    **extra: Any,
) -> dict[str, Any]:
    """Write `report.html`, `report.json` and their pictures, some training images of each class among them."""
    paths_by_class: dict[str, list[str]] = {name: [] for name in datamodule.class_names}
    for sample in datamodule.splits["train"]:
        paths_by_class[datamodule.class_names[sample.label]].append(str(sample.path))
    write_samples(run_dir, paths_by_class, datamodule.preprocess.load)
    summary = {key: value for key, value in datamodule.summary.items() if key != "shapes"}  # thousands of sizes to draw
    scores = {name: evaluation.scores() for name, evaluation in evaluations.items() if name != "test"}
    metadata = {"splits": datamodule.class_counts, "data": summary, **collect_environment(), **extra}
    return write_report(
        run_dir,
        evaluations["test"],
        datamodule.preprocess,
        partial(explain_predictions, predictor),
        **scores,
        **metadata,
    )
