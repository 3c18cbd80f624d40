"""The run directory: configuration, environment and split before the training, calibration and report after it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from cnn_classifier.config.compose import Config, save_config, to_container
from cnn_classifier.config.metrics import get_mode
from cnn_classifier.data.checks.suggestions import training_warnings
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.epochs import BudgetPlan
from cnn_classifier.data.splits.split_csv import write_split
from cnn_classifier.files import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    SPLIT_FILE,
    check_free_space,
    ensure_writable_dir,
    write_json,
)
from cnn_classifier.inference.calibrate import calibrate_checkpoint
from cnn_classifier.inference.evaluate import evaluate_images, explain_predictions
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.report.metrics.calibration import few_images_warnings
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.report.stages import StageResult, complete_stages, load_stages, save_stages
from cnn_classifier.report.write import name_in_run, pick_shown, write_report, write_samples
from cnn_classifier.training.build import check_lightning
from cnn_classifier.training.callbacks.budget_guard import BudgetGuard
from cnn_classifier.training.callbacks.checkpoint_paths import CheckpointPaths, get_best_checkpoint
from cnn_classifier.training.callbacks.epoch_logger import EpochLogger
from cnn_classifier.training.callbacks.nan_guard import NaNGuard
from cnn_classifier.training.callbacks.status import StatusWriter
from cnn_classifier.training.checkpoints import estimate_checkpoint_bytes
from cnn_classifier.training.devices import release_memory, tune_malloc
from cnn_classifier.training.distributed import get_rank
from cnn_classifier.training.environment import collect_environment, ignore_known_warnings
from cnn_classifier.training.loggers import log_test_metrics
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.status import run_lock


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Args:
        checkpoint: The path of the best checkpoint; None after a trial run with `trainer.fast_dev_run`.
        report: The content of `report.json`; empty after a trial run and on all ranks but 0.
        run_dir: The directory of the run.
    """

    checkpoint: Path | None
    report: dict[str, Any]
    run_dir: Path


class Run:
    """The run directory, which rank 0 writes.

    Args:
        config: The configuration of the run.
        overrides: The command-line overrides, recorded in `status.json`.
        start_time: The start of the command in seconds since the epoch.
    """

    def __init__(self, config: Config, overrides: Sequence[str], start_time: float) -> None:
        ignore_known_warnings()
        tune_malloc()
        check_lightning(config)
        self.config, self.overrides = config, overrides
        self.start_time = self.fit_start_time = start_time
        self.epoch_logger = EpochLogger(self.path)

    @property
    def path(self) -> Path:
        """The run directory, which `resume` may change."""
        return Path(self.config.run_dir)

    def build_callbacks(self, plan: BudgetPlan | None) -> list[Callback]:
        """Build the callbacks that write into the run directory, and the one that follows the plan for the budget."""
        self.epoch_logger = EpochLogger(self.path)
        status_writer = StatusWriter(self.path, self.overrides)
        return [BudgetGuard(plan), CheckpointPaths(), self.epoch_logger, status_writer, NaNGuard(self.path)]

    @property
    def writes_files(self) -> bool:
        """True if this process writes files: rank 0, except in a trial run with `trainer.fast_dev_run`."""
        return get_rank() == 0 and not self.config.trainer.fast_dev_run

    @contextmanager
    def open(self, module: ImageClassifier) -> Iterator[None]:
        """Create and lock the run directory, if there is space for the checkpoints of the module."""
        if not self.writes_files:
            yield
            return
        hint = "free space there or choose another run_dir"
        check_free_space(ensure_writable_dir(self.path), estimate_checkpoint_bytes(module), hint)
        with run_lock(self.path):
            yield

    def write_inputs(self, datamodule: ImageFolderDataModule, ckpt_path: Path | None, reasons: Sequence[str]) -> None:
        """Save configuration, environment and split, and print a summary of the data and of the resolved values."""
        self.fit_start_time = time.time()
        if not self.writes_files:
            return
        save_config(self.config, self.path / CONFIG_FILE)
        write_json(self.path / ENVIRONMENT_FILE, collect_environment(self.overrides))
        write_split(self.path / SPLIT_FILE, datamodule.splits, datamodule.index, datamodule.prepared.digests)
        resuming = [] if ckpt_path is None else [f"resuming from {ckpt_path}"]
        sizes = " · ".join(f"{split} {len(samples)}" for split, samples in datamodule.splits.items())
        print(f"{self.config.dataset.name}: {sizes} images in {datamodule.num_classes} classes")
        few_images = few_images_warnings(len(datamodule.splits["val"]))
        print(*training_warnings(datamodule.prepared.summary), *few_images, *resuming, *reasons, sep="\n")

    @property
    def monitor(self) -> tuple[str, str]:
        """The metric that determines the best checkpoint, and its mode, `min` or `max`."""
        best = to_container(self.config.callbacks).get("best") or {}
        monitor = best.get("monitor") or "val/loss"
        return monitor, best.get("mode") or get_mode(monitor)

    def complete_stage(self, datamodule: ImageFolderDataModule) -> list[StageResult]:
        """Add the result of the training to that of its stage, also in a resumed run, and return all stages."""
        stages = load_stages(self.path)
        if stages and not stages[-1].seconds:
            num_images, seconds = len(datamodule.splits["val"]), time.time() - self.fit_start_time
            stages = complete_stages(stages, self.epoch_logger.history, num_images, seconds, self.monitor)
            print(stages[-1], stages[-1].decision, sep="\n", flush=True)
            save_stages(self.path, stages)
        return stages

    def finish(self, trainer: Trainer, datamodule: ImageFolderDataModule, best_path: Path | None = None) -> TrainResult:
        """Calibrate and evaluate the best checkpoint, and write the report.

        Args:
            trainer: The `Trainer` of the last stage.
            datamodule: Its data.
            best_path: The best checkpoint, by default that of the callbacks.
        """
        fit_end_time = time.time()
        if self.config.trainer.fast_dev_run:
            return TrainResult(None, {}, self.path)
        best_path = best_path or get_best_checkpoint(trainer, self.path)
        if get_rank() > 0:
            return TrainResult(best_path, {}, self.path)
        release_memory(collect=False)  # that of training steps
        stages = self.complete_stage(datamodule)
        trusted = [self.config.model._target_]
        load = partial(Predictor.load, best_path, device=str(trainer.strategy.root_device), trusted=trusted)
        datamodule = match_preprocess(datamodule, load().preprocess)
        store, splits = datamodule.prepared.store, datamodule.splits
        evaluations = {"val": calibrate_checkpoint(best_path, load(), store, splits["val"], splits["train"])}
        evaluations["test"] = evaluate_images(load(), store, splits["test"])
        log_test_metrics(trainer.loggers, evaluations["test"].scores(), trainer.global_step)
        if self.config.test_time_flip:
            evaluations["test_flip"] = evaluate_images(load(), store, splits["test"], flip=True)
        info = collect_environment(self.overrides) | {"checkpoint": name_in_run(best_path, self.path)}
        info |= {"stages": [stage.to_dict() for stage in stages]} if stages else {}
        info["epochs"] = self.epoch_logger.history
        info["timing"] = {
            "prepare_seconds": self.fit_start_time - self.start_time,
            "fit_seconds": fit_end_time - self.fit_start_time,
            "train_images_per_second": self.epoch_logger.images_per_second,
        }
        report = write_run_report(self.path, load(), datamodule, evaluations, self.start_time, info)
        return TrainResult(best_path, report, self.path)


def match_preprocess(datamodule: ImageFolderDataModule, preprocess: Preprocess) -> ImageFolderDataModule:
    """Return the data with the preprocessing of the best checkpoint, which may be that of an earlier stage."""
    if datamodule.preprocess == preprocess:
        return datamodule
    options = asdict(datamodule.config) | {"train_sizes": None} | preprocess.to_dict()
    return ImageFolderDataModule(seed=datamodule.seed, index=datamodule.index, **options)


def write_run_report(
    run_dir: Path,
    predictor: Predictor,
    datamodule: ImageFolderDataModule,
    evaluations: dict[str, Evaluation],
    start_time: float,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Write `report.html`, `report.json` and their figures, and return the content of `report.json`."""
    write_samples(run_dir, datamodule.splits["train"], datamodule.class_names, datamodule.preprocess.load)
    summary = {k: v for k, v in datamodule.prepared.summary.items() if k != "shapes"}  # thousands of image sizes
    scores = {name: evaluation.scores() or None for name, evaluation in evaluations.items() if name != "test"}
    explain = partial(explain_predictions, predictor)
    content = {"splits": datamodule.class_counts, "data": summary} | scores | dict(extra)
    return write_report(run_dir, pick_shown(evaluations), datamodule.preprocess, explain, start_time, **content)
