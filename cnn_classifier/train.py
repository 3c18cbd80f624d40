"""Train a classifier from a configuration: fit the model, evaluate the best checkpoint, write the report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from lightning.pytorch import Trainer, seed_everything

from cnn_classifier.auto.budget import Budget, get_seconds, has_budget
from cnn_classifier.auto.initial_weights import init_weights
from cnn_classifier.auto.resolve import resolve_auto, resolve_config, resolve_flips, resolve_on_rank_zero
from cnn_classifier.auto.stages import (
    FINE_TUNING,
    MIN_EPOCHS,
    PROBE,
    TRIAL,
    TRIAL_FRACTION,
    choose_after_trial,
    measure_patch_errors,
    plan_stages,
    resolve_probe,
    start_stage,
)
from cnn_classifier.config.compose import Config, save_config, to_container
from cnn_classifier.data import AUTO
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.loading.epochs import BudgetPlan
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.files import BEST_CHECKPOINT, CONFIG_FILE, display_path
from cnn_classifier.report.stages import StageResult, pick_best, save_stages
from cnn_classifier.run import Run, TrainResult
from cnn_classifier.training.build import build_datamodule, build_module, build_trainer, fit, make_trainer
from cnn_classifier.training.callbacks.checkpoint_paths import keep_best
from cnn_classifier.training.checkpoints import save_module
from cnn_classifier.training.distributed import broadcast_from_rank_zero, get_rank
from cnn_classifier.training.loggers import build_loggers
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.probe import fit_probe
from cnn_classifier.training.resume import check_same_images


def train(
    config: Config,
    index: DatasetIndex | None = None,
    *,
    overrides: Sequence[str] = (),
    start_time: float | None = None,
) -> TrainResult:
    """Train the configured model and evaluate its best checkpoint.

    Args:
        config: The composed configuration, see `load_config`. Its `auto` values are resolved in place.
        index: The scanned dataset; scanned here if not given.
        overrides: The command-line overrides, recorded in `status.json`.
        start_time: The start of the command in seconds since the epoch, from which the run is timed; now by default.

    Raises:
        ClassifierError: If the configuration, the data or a checkpoint is invalid, the loss diverges, or another run
            uses the run directory.
    """
    run = Run(config, overrides, start_time or time.time())
    index = index or scan_source(DatasetConfig(**to_container(config.dataset)))
    reasons, plan, ckpt_path = resolve_config(config, index, overrides, run.start_time)
    if config.model._target_ == AUTO:
        return train_in_stages(run, index, reasons)
    datamodule = prepare_data(config, index)
    check_same_images(ckpt_path, run.path, datamodule.splits, index, datamodule.prepared.digests)
    reasons += resolve_flips(config, datamodule, is_resumed=ckpt_path is not None)
    module = build_module(config, datamodule)
    init_weights(module, ckpt_path)
    trainer = build_trainer(config, module, datamodule, run.build_callbacks(plan))

    with run.open(module):
        run.write_inputs(datamodule, ckpt_path, reasons)
        fit(trainer, module, datamodule, ckpt_path)
        return run.finish(trainer, datamodule)


def prepare_data(config: Config, index: DatasetIndex) -> ImageFolderDataModule:
    """Check, split and decode the images, and seed the initialization of the network."""
    seed_everything(config.seed, verbose=False)
    datamodule = build_datamodule(config, index)
    datamodule.prepare_data()
    return datamodule


def train_in_stages(run: Run, index: DatasetIndex, reasons: Sequence[str]) -> TrainResult:
    """Train with `model=auto`: fit the last layer of a pretrained network, and continue with the training that pays.

    Fine-tuning starts from the fitted layer. Only a better validation result replaces the best checkpoint so far.

    Args:
        run: The run.
        index: The images.
        reasons: The lines to print about the configuration.
    """
    config, stages = run.config, Stages(run)
    stages.start(PROBE)
    resolve_probe(config, index)
    datamodule = prepare_data(config, index)
    probe = build_module(config, datamodule)
    init_weights(probe, None)

    with run.open(probe):
        run.write_inputs(datamodule, None, reasons)
        trainer = stages.fit_probe(probe, datamodule)
        while stages.planned:
            stage = stages.start(stages.planned.pop(0))
            reasons, plan, _ = resolve_on_rank_zero(config, lambda: resolve_auto(config, index, stages.budget))
            if stages.skip(plan):
                continue
            datamodule = prepare_data(config, index)
            reasons += resolve_flips(config, datamodule)
            module = build_module(config, datamodule)
            if stage == FINE_TUNING:
                module.network.load_state_dict(probe.network.state_dict())
            trainer = build_trainer(config, module, datamodule, run.build_callbacks(plan))
            keep_best(trainer, run.path / BEST_CHECKPOINT, stages.best.metrics)
            stages.open(reasons)
            fit(trainer, module, datamodule, None)
            stages.close(datamodule)
        trainer.loggers = trainer.loggers or build_loggers(stages.initial["logger"])
        is_measured = stages.results[0].metrics or len(stages.results) == 1  # otherwise, the last weights are kept
        return run.finish(trainer, datamodule, run.path / BEST_CHECKPOINT if is_measured else None)


class Stages:
    """The results of the stages of a run and the planned stages. The configuration becomes that of the current one."""

    def __init__(self, run: Run) -> None:
        self.run, self.initial = run, to_container(run.config)
        self.results: list[StageResult] = []
        self.planned: list[str] = []
        self.image_size: int | None = None  # of the probe

    @property
    def budget(self) -> Budget:
        """The budget of the current stage: that of the run, or a part of the rest for a trial."""
        budget = Budget(get_seconds(self.initial, self.results[0].num_train_images), self.run.start_time)
        return budget.take(TRIAL_FRACTION) if self.stage == TRIAL else budget

    @property
    def best(self) -> StageResult:
        """The best result so far."""
        return pick_best(self.results, self.run.monitor)

    def start(self, stage: str) -> str:
        """Set the configuration to that of a stage, and return its name."""
        self.stage, self.run.fit_start_time = stage, time.time() if self.results else self.run.start_time
        start_stage(self.run.config, self.initial, stage, self.image_size)
        return stage

    def fit_probe(self, module: ImageClassifier, datamodule: ImageFolderDataModule) -> Trainer:
        """Fit the last layer, save the best checkpoint, and plan the stages that follow."""
        self.image_size = self.run.config.dataset.image_size
        head, num_images = fit_probe(module, datamodule), len(datamodule.splits["val"])
        trainer = make_trainer(self.run.config, logger=False, enable_checkpointing=False, enable_progress_bar=False)
        metrics = trainer.validate(module, datamodule=datamodule, verbose=False)[0] if num_images else {}
        out_of_fold = None if head is None else float(head.correct.double().mean())
        num_train_images, seconds = len(datamodule.splits["train"]), time.time() - self.run.start_time
        self.results = [StageResult(PROBE, dict(metrics), num_images, out_of_fold, num_train_images, seconds)]
        if get_rank() == 0:
            save_module(module, self.run.path / BEST_CHECKPOINT)
            print(self.results[0], f"predict with this model: {display_path(self.run.path)}", sep="\n", flush=True)
        limits = (self.budget if has_budget(self.initial) else None, self.initial["model"]["stages"])
        self.decide(lambda: plan_stages(self.results[0], measure_patch_errors(datamodule), *limits))
        return trainer

    def decide(self, plan: Callable[[], tuple[Sequence[str], str]]) -> None:
        """Set the stages that follow to those that a function returns on rank 0, and print its reason."""
        planned, reason = broadcast_from_rank_zero(plan)
        decision = f"continuing with {planned[0]}: {reason}" if planned else f"stopping: {reason}"
        self.planned, self.results[-1] = list(planned), replace(self.results[-1], decision=decision)
        if get_rank() == 0:
            print(decision, flush=True)
            save_stages(self.run.path, self.results)

    def skip(self, plan: BudgetPlan | None) -> bool:
        """Decide anew if less than `MIN_EPOCHS` of the current stage fit into its budget."""
        if is_short := broadcast_from_rank_zero(lambda: plan is not None and plan.fit_epochs() < MIN_EPOCHS):
            planned = [FINE_TUNING] * (self.stage == TRIAL)
            self.decide(lambda: (planned, f"there is not enough time for {self.stage}"))
        return is_short

    def open(self, reasons: Sequence[str]) -> None:
        """Save the configuration and the start of a stage, and print the resolved values."""
        self.results.append(StageResult(self.stage))
        if get_rank() == 0:
            print(*reasons, sep="\n", flush=True)
            save_stages(self.run.path, self.results)
            if self.stage != TRIAL:  # a run is resumed in its last stage, or starts again
                save_config(self.run.config, self.run.path / CONFIG_FILE)

    def close(self, datamodule: ImageFolderDataModule) -> None:
        """Add the result of the training, and decide what follows a trial."""
        self.results = broadcast_from_rank_zero(lambda: self.run.complete_stage(datamodule))
        if self.stage == TRIAL:
            self.decide(lambda: choose_after_trial(self.results, self.best))
