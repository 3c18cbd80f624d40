"""The spine: from a scanned folder to a tested checkpoint. Read this file to know what a training is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from torch import nn

from cnn_classifier.auto import dataset_options, settle
from cnn_classifier.build import build_all
from cnn_classifier.callbacks import EpochRecord
from cnn_classifier.checkpoint import BEST, checkpoint_bytes
from cnn_classifier.config import Config, plain, save, set_values
from cnn_classifier.data.advice import brief
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.source import scan_source
from cnn_classifier.data.split_file import write_split
from cnn_classifier.divergence import DivergenceGuard
from cnn_classifier.environment import environment
from cnn_classifier.evaluate import evaluate_images, explained
from cnn_classifier.guarded import Guarded
from cnn_classifier.hardware import keep_freed_memory
from cnn_classifier.heartbeat import Heartbeat
from cnn_classifier.module import ImageClassifier
from cnn_classifier.predictor import Predictor
from cnn_classifier.quiet import silence_remarks
from cnn_classifier.ranks import agree, rank
from cnn_classifier.report.evaluation import Evaluation
from cnn_classifier.report.write import write_report, write_samples
from cnn_classifier.resume import begin_weights, require_same_images, take_up
from cnn_classifier.self_knowledge import write_self_knowledge
from cnn_classifier.status import claimed
from cnn_classifier.storage import make_folder, require_space, write_json
from cnn_classifier.trainer import best_checkpoint, build_trainer, fit, require_size_free, require_usable
from cnn_classifier.trial import LAYOUTS


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


def train(config: Config, scan: Scan | None = None, *, words: Sequence[str] = ()) -> TrainResult:
    """Fit the configured network on the scanned images, then test its best checkpoint.

    Args:
        config: As `config.load()` composes it.
        scan: What `scan_source` found, if that was asked before; the command does so, before it imports torch.
        words: What the command changed, for `status.json`.

    Raises:
        ClassifierError: If the configuration, the data or a checkpoint to resume cannot be used, the loss diverges, or
            another run holds the folder.
    """
    started = time.perf_counter()
    silence_remarks()
    keep_freed_memory()
    scan = scan or scan_source(DatasetOptions(**plain(config.dataset)))
    resumed, told = settled(config, scan)
    seed_everything(config.seed, verbose=False)
    run_dir = Path(config.run_dir)
    data = build_data(config, scan)
    data.decode()
    if resumed is not None:
        require_same_images(run_dir, data.splits, scan)
    module = build_module(config, data)
    begin_weights(module, resumed)
    record = EpochRecord(run_dir)
    trainer = watched(config, module, [record, Heartbeat(run_dir, words), DivergenceGuard(run_dir)])
    if rank() > 0:
        fit(trainer, module, data, resumed)
        return TrainResult(run_dir / BEST, {}, run_dir)
    require_space(make_folder(run_dir), checkpoint_bytes(module), "free space there or choose another run_dir")
    with claimed(run_dir):
        begin(run_dir, config, data, resumed, told)
        prepared = time.perf_counter()
        fit(trainer, module, data, resumed)
        fitted = time.perf_counter()

        best = best_checkpoint(trainer, run_dir)
        load = partial(Predictor.load, best, device=str(trainer.strategy.root_device), trusted=[config.model._target_])
        found = tested(best, load, data, flip=config.flip_test)
        timing = {
            "prepare_seconds": prepared - started,
            "fit_seconds": fitted - prepared,
            "train_images_per_second": record.images_per_second,
            "total_seconds": time.perf_counter() - started,
        }
        content = report(run_dir, load(), data, found, epochs=record.epochs, timing=timing, checkpoint=str(best))
    return TrainResult(best, content, run_dir)


def settled(config: Config, scan: Scan) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from and the reasons for what was `auto`, the same in all processes of a training."""

    def settle_here() -> tuple[Path | None, list[str], dict[str, Any]]:
        resumed = take_up(config)
        return resumed, settle(config, scan), plain(config)

    resumed, told, values = agree(settle_here)
    if rank() > 0:
        set_values(config, values)
    return resumed, told


def build_data(config: Config, scan: Scan) -> ImageFolderDataModule:
    """The images, split, and how they are changed."""
    augment = build_all(plain(config.augment), nn.Module)
    sizes = require_size_free(config.model, plain(config.trainer)["sizes"])
    options = dataset_options(config)
    return ImageFolderDataModule(scan=scan, options=options, augment=augment, seed=config.seed, sizes=sizes)


def build_module(config: Config, data: ImageFolderDataModule) -> ImageClassifier:
    """The network and all that a checkpoint stores beside it."""
    module = ImageClassifier(
        model=plain(config.model),
        class_names=data.class_names,
        preprocess=data.preprocess.as_dict(),
        optimizer=plain(config.optimizer),
        scheduler=plain(config.scheduler),
        loss=resolve_loss(plain(config.loss), data),
        aliases=data.options.class_names,
    )
    module.arrange(LAYOUTS[config.trainer.layout])
    if config.trainer.compile:
        module.network.compile()
    return module


def watched(config: Config, module: ImageClassifier, watching: list[Callback]) -> Trainer:
    """The Trainer, with these callbacks before the configured ones, and loggers whose failures end no training."""
    callbacks = [*watching, *build_all(plain(config.callbacks), Callback)]
    loggers: list[Logger] = [Guarded(logger) for logger in build_all(plain(config.logger), Logger)]
    trainer = build_trainer(plain(config.trainer), module.network, callbacks=callbacks, logger=loggers)
    require_usable(trainer, module)
    return trainer


def begin(run_dir: Path, config: Config, data: ImageFolderDataModule, resumed: Path | None, told: list[str]) -> None:
    """Write down what is about to run: from here on the run has a folder."""
    save(config, run_dir / "config.yaml")
    write_json(run_dir / "environment.json", environment())
    write_split(run_dir / "split.csv", data.splits, data.scan)
    sizes = " · ".join(f"{split} {len(samples)}" for split, samples in data.splits.items())
    print(f"{config.dataset.name}: {sizes} images in {len(data.class_names)} classes", *brief(data.summary), sep="\n")
    if resumed is not None:
        print(f"resuming from {resumed}")
    print(*told, sep="\n")


def tested(
    best: Path, load: Callable[[], Predictor], data: ImageFolderDataModule, *, flip: bool
) -> dict[str, Evaluation]:
    """The answers on validation images, which tell how sure it may be, and on test images, how good it is."""
    images, splits = data.ready.store, data.splits
    val = write_self_knowledge(best, load(), images, splits["val"])
    found = {"val": val, "test": evaluate_images(load(), images, splits["test"])}
    if flip:
        found["test_flip"] = evaluate_images(load(), images, splits["test"], flip=True)
    return found


def report(
    run_dir: Path, predictor: Predictor, data: ImageFolderDataModule, found: dict[str, Evaluation], **more: Any
) -> dict[str, Any]:
    """Write `report.html`, `report.json` and their pictures, some training images of each class among them."""
    by_class: dict[str, list[str]] = {name: [] for name in data.class_names}
    for sample in data.splits["train"]:
        by_class[data.class_names[sample.label]].append(str(sample.path))
    write_samples(run_dir, by_class, data.preprocess.load)
    summary = {key: value for key, value in data.summary.items() if key != "shapes"}  # thousands of sizes to draw
    scores = {name: evaluation.scores() for name, evaluation in found.items() if name != "test"}
    about = {"splits": data.class_counts, "data": summary, **environment(), **more}
    return write_report(run_dir, found["test"], data.preprocess, partial(explained, predictor), **scores, **about)


def resolve_loss(loss: dict[str, Any], data: ImageFolderDataModule) -> dict[str, Any]:
    """`class_weights=balanced` as numbers: rare classes weigh more, so that all count the same."""
    if loss["class_weights"] != "balanced":
        return loss
    counts = data.class_counts["train"]
    return loss | {"class_weights": [sum(counts) / (len(counts) * count) for count in counts]}
