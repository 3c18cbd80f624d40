"""Every argument of Lightning's `Trainer`: which work, with their effect, and which are rejected, with the reason."""

import copy
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import MakeFolder
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.plugins.precision import MixedPrecision
from omegaconf import OmegaConf
from torch import Tensor
from torchvision.transforms import v2

from cnn_classifier import ImageClassifier, ImageFolderDataModule
from cnn_classifier.cli.main import main
from cnn_classifier.config.compose import load_config, to_container
from cnn_classifier.config.schema import check_values
from cnn_classifier.config.trainer import UNSUPPORTED, TrainerConfig
from cnn_classifier.config.yaml_files import CONF_DIR
from cnn_classifier.errors import ConfigError
from cnn_classifier.training import distributed
from cnn_classifier.training.callbacks.ema import WeightEMA
from cnn_classifier.training.callbacks.epoch_logger import EpochLogger
from cnn_classifier.training.callbacks.last_checkpoint import LastCheckpoint
from cnn_classifier.training.callbacks.nan_guard import NaNGuard

pytestmark = pytest.mark.filterwarnings("ignore")  # a plain `Trainer` warns about many of these arguments
CNN = {"_target_": "cnn_classifier.models.cnn.CNN", "widths": [4], "hidden_dim": 4}
SGD = {"_target_": "torch.optim.SGD", "lr": 0.01}
SCHEDULERS = "torch.optim.lr_scheduler."
PLATEAU = {"_target_": SCHEDULERS + "ReduceLROnPlateau", "monitor": "val/loss", "patience": 0}
COSINE = {"_target_": "cnn_classifier.training.optim.CosineDecayLR", "T_max": None, "warmup_epochs": 0.0}
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
# Arguments of `Trainer`, the expected number of optimizer steps, and for each epoch whether it has validation metrics.
# An epoch has three batches.
EFFECTS: list[tuple[dict[str, Any], int, str]] = [
    ({}, 6, "VV"),
    ({"limit_train_batches": 2}, 4, "VV"),
    ({"limit_train_batches": 0.5}, 2, "VV"),
    ({"limit_val_batches": 0}, 6, "--"),
    ({"limit_val_batches": 1}, 6, "VV"),
    ({"max_steps": 4}, 4, "V-"),
    ({"max_epochs": -1, "max_steps": 4}, 4, "V-"),
    ({"max_epochs": 1, "min_epochs": 1, "min_steps": 1}, 3, "V"),
    ({"max_time": {"minutes": 5}}, 6, "VV"),
    ({"accumulate_grad_batches": 2}, 4, "VV"),
    ({"overfit_batches": 1}, 2, "VV"),
    ({"fast_dev_run": 2}, 2, "V"),
    ({"fast_dev_run": True}, 1, "V"),
    ({"check_val_every_n_epoch": 2}, 6, "-V"),
    ({"check_val_every_n_epoch": 3}, 6, "--"),
    ({"check_val_every_n_epoch": None}, 6, "VV"),
    ({"check_val_every_n_epoch": None, "val_check_interval": 4}, 6, "-V"),
    ({"check_val_every_n_epoch": None, "val_check_interval": 200}, 6, "--"),
    ({"val_check_interval": 0.5}, 6, "VV"),
    ({"val_check_interval": 2}, 6, "VV"),
    ({"val_check_interval": "00:01:00:00"}, 6, "--"),
    ({"num_sanity_val_steps": 2, "log_every_n_steps": 1}, 6, "VV"),
    ({"reload_dataloaders_every_n_epochs": 1, "inference_mode": False}, 6, "VV"),
    ({"deterministic": True, "detect_anomaly": True, "benchmark": False, "gradient_clip_val": 1.0}, 6, "VV"),
    ({"sync_batchnorm": True, "enable_autolog_hparams": False, "devices": "1", "profiler": "simple"}, 6, "VV"),
]
# Values of the node `trainer` (and of others) that are rejected before the data is read, with the reason.
REJECTED: list[tuple[dict[str, Any], str]] = [
    ({"accelerator": "tpu"}, "expected auto, cpu, gpu, cuda, mps"),
    ({"barebones": True}, "disables the metrics and checkpoints of the report"),
    ({"callbacks": "mine"}, "callbacks have their own group"),
    ({"enable_checkpointing": False}, "the report describes a checkpoint"),
    ({"limit_predict_batches": 1}, "train does not predict"),
    ({"limit_test_batches": 1}, "the report covers all test images"),
    ({"logger": True}, "loggers have their own group"),
    ({"model_registry": "mine"}, "checkpoints are not uploaded"),
    ({"plugins": "async"}, "set by train"),
    ({"strategy": "ddp_spawn"}, "starts its processes before the training"),
    ({"strategy": "ddp_notebook_find_unused_parameters_true"}, "starts its processes before the training"),
    ({"strategy": "fsdp"}, "shards the weights"),
    ({"strategy": "deepspeed_stage_2"}, "shards the weights"),
    ({"strategy": "single_device"}, "auto selects it"),
    ({"strategy": "dp"}, r"not supported; expected one of auto, ddp"),
    ({"precision": "16-true"}, "float16 weights become NaN"),
    ({"precision": "transformer-engine"}, "replaces linear layers only"),
    ({"precision": 8}, "not supported; expected one of 32-true"),
    ({"max_steps": 0}, "a positive number, or -1"),
    ({"max_time": "5m"}, "DD:HH:MM:SS"),
    ({"max_time": 5}, "wrong type"),
    ({"fast_dev_run": -1}, "at least 0"),
    ({"limit_train_batches": 0}, "a positive number"),
    ({"limit_train_batches": 1.5}, "a number of batches, or a fraction"),
    ({"limit_val_batches": -1}, "at least 0"),
    ({"overfit_batches": -1}, "at least 0"),
    ({"check_val_every_n_epoch": 0}, "at least 1"),
    ({"val_check_interval": 0}, "a fraction up to 1.0, a number of batches"),
    ({"val_check_interval": "soon"}, "DD:HH:MM:SS"),
    ({"val_check_interval": 0.5, "check_val_every_n_epoch": None}, "a number of batches with check_val_every_n_epoch="),
    ({"num_sanity_val_steps": -2}, "at least -1"),
    ({"num_nodes": 0}, "at least 1"),
    ({"accumulate_grad_batches": 0}, "at least 1"),
    ({"gradient_clip_val": -1}, "at least 0"),
    ({"gradient_clip_algorithm": "median"}, "expected norm, value"),
    ({"deterministic": "maybe"}, "wrong type"),
    ({"profiler": "xla"}, "expected simple, advanced, pytorch"),
    ({"reload_dataloaders_every_n_epochs": -1}, "at least 0"),
    ({"max_epochs": -1}, "has no end, which the scheduler must know"),
    ({"gradient_clip": 1.0}, "did you mean 'gradient_clip_val'"),
]


@pytest.fixture
def photos(make_folder: MakeFolder) -> Path:
    return make_folder(
        {"train/cats": 10, "train/dogs": 10, "val/cats": 4, "val/dogs": 4, "test/cats": 2, "test/dogs": 2}, size=8
    )


@pytest.fixture(autouse=True)
def random_algorithms() -> Any:
    """Undo `deterministic=True`, which Lightning sets for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)


def make_data(photos: Path, **options: Any) -> ImageFolderDataModule:
    return ImageFolderDataModule(photos, **{"image_size": 8, "batch_size": 8, "augment": "none"} | options)


def fit(photos: Path, *callbacks: Callback, data: dict[str, Any] | None = None, **arguments: Any) -> Trainer:
    """Fit a tiny network with a plain `Trainer`; keys of the module are taken from the arguments."""
    options = {key: arguments.pop(key) for key in ("optimizer", "scheduler") if key in arguments}
    module = ImageClassifier(CNN, num_classes=2, image_size=8, **{"optimizer": SGD} | options)
    checkpointing = any(isinstance(callback, LastCheckpoint) for callback in callbacks)
    base = QUIET | {"max_epochs": 2, "enable_checkpointing": checkpointing, "callbacks": list(callbacks)}
    trainer = Trainer(**base | arguments)
    trainer.fit(module, datamodule=make_data(photos, **data or {}))
    return trainer


@pytest.mark.parametrize(("arguments", "steps", "validated"), EFFECTS, ids=str)
def test_argument_has_the_effect_that_lightning_documents(
    arguments: dict[str, Any], steps: int, validated: str, photos: Path, tmp_path: Path
) -> None:
    logger = EpochLogger(tmp_path)
    trainer = fit(photos, logger, **arguments)
    assert trainer.global_step == steps
    assert "".join("V" if "val/loss" in row else "-" for row in logger.history) == validated


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    config = load_config(["dataset=folder", "dataset.root=photos"], run_dir="run")
    return {str(name): to_container(node) for name, node in config.items() if name != "run_dir"}


@pytest.mark.parametrize(("arguments", "reason"), REJECTED, ids=str)
def test_argument_is_rejected_with_the_reason(arguments: dict[str, Any], reason: str, values: dict[str, Any]) -> None:
    changed = copy.deepcopy(values)
    changed["trainer"] |= arguments
    with pytest.raises(ConfigError, match=reason):
        check_values(changed)


def test_monitored_metric_without_validation_is_rejected(values: dict[str, Any]) -> None:
    stopping = {"early_stopping": {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss"}}
    without_validation = values | {"trainer": values["trainer"] | {"limit_val_batches": 0}}
    for changes, key in (({"scheduler": PLATEAU}, "scheduler"), ({"callbacks": stopping}, "callbacks.early_stopping")):
        with pytest.raises(ConfigError, match=f"disables the validation that {key}.monitor=val/loss requires"):
            check_values(without_validation | changes)


def test_arguments_are_those_of_lightning_and_of_the_config() -> None:
    supported = {item.name: item.default for item in fields(TrainerConfig)}
    assert {*supported, *UNSUPPORTED} == set(inspect.signature(Trainer).parameters)
    assert not set(supported) & set(UNSUPPORTED)
    configured = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "trainer" / "auto.yaml"))
    assert configured == supported | {"default_root_dir": "${run_dir}"}


def test_schedules_end_with_the_run(photos: Path) -> None:
    ends: list[dict[str, Any]] = [{}, {"max_steps": 4}, {"max_epochs": -1, "max_steps": 5}]
    for arguments in [*ends, {"accumulate_grad_batches": 2, "limit_train_batches": 2}]:
        assert fit(photos, **arguments).optimizers[0].param_groups[0]["lr"] == 0  # the one-cycle schedule
    for arguments in ends:
        assert fit(photos, scheduler=COSINE, **arguments).lr_scheduler_configs[0].scheduler.T_max == 2
    with pytest.raises(ConfigError, match="T_max=null requires"):
        fit(photos, scheduler=COSINE, max_epochs=-1)


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({}, 4),
        ({"num_sanity_val_steps": 1}, 4),
        ({"check_val_every_n_epoch": 2}, 2),
        ({"check_val_every_n_epoch": None, "val_check_interval": 5}, 2),
        ({"val_check_interval": 1}, 12),
        ({"limit_val_batches": 0}, 0),
        ({"limit_val_batches": 0, "scheduler": PLATEAU | {"monitor": "train/loss"}}, 4),
    ],
    ids=str,
)
def test_plateau_schedule_counts_validations(arguments: dict[str, Any], steps: int, photos: Path) -> None:
    trainer = fit(photos, **{"scheduler": PLATEAU, "max_epochs": 4} | arguments)
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == steps


class RecordImages(Callback):
    """A callback that keeps the training images and labels of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[Tensor]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.append([])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.epochs[-1].append(batch[0].flatten(1))
        self.labels = batch[1]


def test_overfit_batches_repeats_the_same_images_without_augmentation(photos: Path) -> None:
    record = RecordImages()
    fit(photos, record, data={"augment": "strong"}, overfit_batches=1, max_epochs=3)
    first, *others = [torch.cat(batches) for batches in record.epochs]
    assert all(torch.equal(first, images) for images in others)
    assert torch.allclose((first * 255).round() / 255, first)  # pixels of the files
    assert set(record.labels.tolist()) == {0, 1}

    fit(photos, other := RecordImages(), data={"augment": "strong"}, limit_train_batches=1)
    assert not torch.equal(*[torch.cat(batches) for batches in other.epochs])


def test_run_that_max_time_ended_resumes_with_more_time(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        seconds = iter([0.0])  # at the start, then 400 after each batch
        patch.setattr(Timer, "time_elapsed", lambda self, stage=None: next(seconds, 400.0))
        first = fit(photos, LastCheckpoint(dirpath=str(tmp_path)), max_time={"minutes": 5})
    assert first.global_step == 1

    module = ImageClassifier(CNN, num_classes=2, image_size=8, optimizer=SGD)
    callbacks: list[Callback] = [LastCheckpoint(dirpath=str(tmp_path))]
    trainer = Trainer(**QUIET, max_epochs=2, max_time={"minutes": 50}, callbacks=callbacks)
    trainer.fit(module, datamodule=make_data(photos), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert trainer.global_step > 1


def float16_on_cpu() -> MixedPrecision:
    """The precision plugin of a GPU with `16-mixed`, on the CPU."""
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))


ADAMW, MUON = {"_target_": "torch.optim.AdamW", "lr": 1e-3}, {"_target_": "cnn_classifier.training.muon.Muon"}
ALL = {"gradient_clip_val": 0.5, "accumulate_grad_batches": 2, "detect_anomaly": True, "deterministic": True}
FUSED, FOREACH, BY_VALUE = {"fused": True}, {"foreach": True}, {"gradient_clip_algorithm": "value"}


@pytest.mark.parametrize(
    ("precision", "optimizer", "arguments"),
    [
        ("32-true", MUON, ALL),
        ("64-true", MUON, ALL | BY_VALUE),
        ("64-true", ADAMW | FUSED, ALL),
        ("bf16-mixed", MUON, ALL),
        ("bf16-mixed", ADAMW | FUSED, ALL | BY_VALUE),
        ("bf16-true", MUON, ALL),
        ("bf16-true", ADAMW | FOREACH, ALL | {"inference_mode": False}),
        ("16-mixed", MUON, ALL),
        ("16-mixed", ADAMW | FUSED, ALL),
        ("16-mixed", SGD | FUSED, ALL | BY_VALUE),
    ],
    ids=str,
)
def test_precision_works_with_optimizer_clipping_averaging_and_accumulation(
    precision: str, optimizer: dict[str, Any], arguments: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    callbacks = [WeightEMA(decay=0.5), NaNGuard(tmp_path), EpochLogger(tmp_path)]
    plugin = {"plugins": float16_on_cpu()} if precision == "16-mixed" else {"precision": precision}
    cutmix = {"augment": [v2.CutMix(num_classes=2)]}
    trainer = fit(photos, *callbacks, data=cutmix, optimizer=optimizer, **arguments | plugin)
    initial = ImageClassifier(CNN, num_classes=2, image_size=8).network.state_dict()
    weights = {name: value.float() for name, value in trainer.model.network.state_dict().items()}
    assert all(value.isfinite().all() for value in weights.values())
    assert not any(torch.equal(value, initial[name]) for name, value in weights.items() if value.ndim > 1)
    assert trainer.global_step == 4


def test_precision_16_true_is_refused_in_python(photos: Path) -> None:
    with pytest.raises(ConfigError, match="use 16-mixed or bf16-true"):
        fit(photos, precision="16-true")


def test_fast_dev_run_writes_nothing_and_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "dataset=folder", f"dataset.root={photos}", "model=baseline", "trainer=cpu"]
    assert main([*command, "trainer.fast_dev_run=3", "+trainer.sync_batchnorm=true"]) == 0
    assert "trainer.fast_dev_run=3: training, validation and test ran without errors" in capsys.readouterr().out
    assert not list(tmp_path.glob("outputs/*/*/*"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer=gpu", "finds no such device on this machine; use trainer=auto or trainer=cpu"),
        ("trainer.val_check_interval=200", "add trainer.check_val_every_n_epoch=null"),
        ("trainer.limit_val_batches=0.1", "set a number of batches, such as trainer.limit_val_batches=1"),
    ],
)
def test_argument_that_machine_or_data_do_not_support_is_an_error_that_leaves_no_folder(
    override: str,
    message: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distributed, "find_accelerator", lambda: ("cpu", 0))
    command = ["train", "dataset=folder", f"dataset.root={photos}", "model=baseline", "trainer.max_epochs=1"]
    assert main([*command, "trainer=cpu", "scheduler=constant", *override.split()]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("outputs/*/*/*"))
