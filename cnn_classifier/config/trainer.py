"""The arguments of Lightning's `Trainer` that `train` supports, checked without importing torch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cnn_classifier.config.signature import check_signature
from cnn_classifier.errors import ConfigError

# Arguments of `Trainer` that `train` does not support, with the reason and the alternative.
UNSUPPORTED = {
    "barebones": "it disables the metrics and checkpoints of the report; use trainer.profiler=simple to measure speed",
    "callbacks": "callbacks have their own group; use for example +callbacks.mine._target_=my_package.MyCallback",
    "enable_checkpointing": "the report describes a checkpoint; use trainer.fast_dev_run=true for a run without files",
    "limit_predict_batches": "train does not predict; use the predict command",
    "limit_test_batches": "the report covers all test images; use dataset.test_fraction for fewer",
    "logger": "loggers have their own group; use for example logger=tensorboard or logger=none",
    "model_registry": "checkpoints are not uploaded; copy the run directory instead",
    "plugins": "they are set by train; use trainer.precision for the precision",
}
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
UNSUPPORTED_STRATEGIES = {
    r"ddp.*_(spawn|fork|notebook).*|ddp_(spawn|fork|notebook)": "it forks or pickles a running training; train starts "
    "its processes before the training",
    r"(fsdp|deepspeed|model_parallel).*": "it shards the weights, but checkpoints, EMA and evaluation need all of them",
    r"single.*": "trainer.strategy=auto selects it for one device",
}
# The canonical name of each spelling that Lightning accepts.
PRECISIONS = {name: name for name in ("32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true")}
PRECISIONS |= {"32": "32-true", "64": "64-true", "16": "16-mixed", "bf16": "bf16-mixed"}
UNSUPPORTED_PRECISIONS = {
    "16-true": "float16 weights become NaN, because the epsilon of optimizers rounds to 0; use 16-mixed or bf16-true",
    "transformer-engine": "it replaces linear layers only, and these networks convolve; use bf16-mixed",
    "transformer-engine-float16": "it replaces linear layers only, and these networks convolve; use 16-mixed",
}
PLANNED_LENGTHS = ("total_steps", "T_max")  # scheduler arguments whose null is replaced by the length of the run
DURATION = re.compile(r"\d+:\d+:\d+:\d+")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """The config group `trainer`: arguments of `lightning.pytorch.Trainer`, whose documentation describes them.

    Args:
        accelerator: The device type; `auto` selects a GPU if there is one.
        devices: The number of processes, or for GPUs also a list of indices, `auto` or -1 for all of them.
        num_nodes: The number of machines, which torchrun sets.
        strategy: `auto` or `ddp`.
        precision: A precision of Lightning; None means the faster one on this machine.
        max_epochs: The number of epochs; None means as many as fit into the budget, -1 no limit.
        min_epochs: The number of epochs before early stopping may end the run.
        max_steps: The number of optimizer steps, -1 for no limit.
        min_steps: The number of optimizer steps before early stopping may end the run.
        max_time: The maximum duration of the training, as `DD:HH:MM:SS` or as a mapping such as `{minutes: 5}`.
        fast_dev_run: True or a number of batches for a trial run that writes nothing.
        limit_train_batches: The number or fraction of the training batches in each epoch.
        limit_val_batches: The number or fraction of the validation batches; 0 disables validation.
        overfit_batches: The number or fraction of batches that every epoch repeats, without augmentation.
        val_check_interval: The time between two validations: a fraction of an epoch, a number of batches or a duration.
        check_val_every_n_epoch: The number of epochs between two validations; None counts batches over all epochs.
        num_sanity_val_steps: The number of validation batches before the training, -1 for all.
        log_every_n_steps: The number of steps between two rows of loggers.
        enable_progress_bar: False removes the progress bar.
        enable_model_summary: True prints the layers.
        enable_autolog_hparams: False keeps hyperparameters out of loggers.
        accumulate_grad_batches: The number of batches per optimizer step.
        gradient_clip_val: The maximum gradient.
        gradient_clip_algorithm: The gradient that is clipped: its `norm` or each `value`.
        deterministic: True for deterministic algorithms, `warn` to warn where there is none.
        benchmark: Whether cuDNN selects the fastest convolution.
        inference_mode: Whether validation uses `torch.inference_mode` rather than `torch.no_grad`.
        use_distributed_sampler: No effect, since the data module splits the batches between processes.
        sync_batchnorm: Whether batch norms of several GPUs share their statistics.
        reload_dataloaders_every_n_epochs: The number of epochs after which loaders are created anew.
        profiler: `simple`, `advanced` or `pytorch`.
        detect_anomaly: Whether autograd looks for NaN.
        default_root_dir: The folder of files for which no other folder is given.

    Raises:
        ConfigError: If a value is not supported.
    """

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: int | str | Sequence[int] = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: int | str | None = None
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    max_time: str | Mapping[str, int] | None = None
    fast_dev_run: bool | int = False
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    overfit_batches: int | float = 0.0
    val_check_interval: int | float | str | Mapping[str, int] | None = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = 0
    log_every_n_steps: int | None = 50
    enable_progress_bar: bool | None = None
    enable_model_summary: bool | None = False
    enable_autolog_hparams: bool = True
    accumulate_grad_batches: int = 1
    gradient_clip_val: int | float | None = None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    deterministic: bool | Literal["warn"] | None = None
    benchmark: bool | None = None
    inference_mode: bool = True
    use_distributed_sampler: bool = False
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    detect_anomaly: bool = False
    default_root_dir: str | None = None

    def __post_init__(self) -> None:
        check_name("strategy", self.strategy, STRATEGIES, UNSUPPORTED_STRATEGIES)
        if self.precision is not None:
            check_name("precision", str(self.precision), PRECISIONS, UNSUPPORTED_PRECISIONS)
        minima = {"num_nodes": 1, "check_val_every_n_epoch": 1, "min_epochs": 0, "min_steps": 0}
        minima |= {"fast_dev_run": 0, "limit_val_batches": 0, "overfit_batches": 0, "num_sanity_val_steps": -1}
        minima |= {"log_every_n_steps": 0, "reload_dataloaders_every_n_epochs": 0}
        for name, minimum in minima.items():
            self.require(name, (value := getattr(self, name)) is None or value >= minimum, f"at least {minimum}")
        self.require("max_steps", self.max_steps == -1 or self.max_steps > 0, "a positive number, or -1 for no limit")
        self.require("limit_train_batches", self.limit_train_batches != 0, "a positive number")
        for name in ("limit_train_batches", "limit_val_batches", "overfit_batches"):
            self.require(name, is_batch_limit(getattr(self, name)), "a number of batches, or a fraction up to 1.0")
        self.require("max_time", is_duration(self.max_time), "DD:HH:MM:SS, such as 00:00:05:00 for five minutes")
        value = self.val_check_interval
        is_valid = value != 0 and is_batch_limit(value) if isinstance(value, int | float) else is_duration(value)
        self.require("val_check_interval", is_valid, "a fraction up to 1.0, a number of batches, or DD:HH:MM:SS")
        is_fraction = self.check_val_every_n_epoch is None and isinstance(value, float)
        self.require("val_check_interval", not is_fraction, "a number of batches with check_val_every_n_epoch=null")

    def require(self, name: str, is_valid: bool, expected: str) -> None:
        """Raise ConfigError with what was expected if the value of an argument is not valid."""
        if not is_valid:
            raise ConfigError(f"trainer.{name}={getattr(self, name)} is out of range: expected {expected}")


def check_trainer(values: Mapping[str, Any]) -> None:
    """Check the arguments of the `Trainer`, and that scheduler and callbacks can work with them.

    Args:
        values: The plain config.

    Raises:
        ConfigError: If an argument is not supported or contradicts another one.
    """
    arguments = values["trainer"]
    for name, reason in UNSUPPORTED.items():
        if arguments.get(name) not in (None, [], name == "enable_checkpointing"):
            raise ConfigError(f"trainer.{name}={arguments[name]} is not supported: {reason}")
    arguments = {name: value for name, value in arguments.items() if name not in UNSUPPORTED}
    check_signature(TrainerConfig, arguments, name="trainer")
    checked = TrainerConfig(**arguments)
    is_limited = checked.max_epochs != -1 or checked.max_steps > 0 or checked.fast_dev_run
    planned = [name for name in PLANNED_LENGTHS if values["scheduler"].get(name, 0) is None]
    if planned and not is_limited:
        raise ConfigError(
            "trainer.max_epochs=-1 has no end, which the scheduler must know; set trainer.max_epochs or "
            "trainer.max_steps, or use scheduler=constant or scheduler=plateau"
        )


def canonical_precision(precision: str | int) -> str:
    """Return the name of a precision, such as `bf16-mixed` for `bf16`."""
    return PRECISIONS[str(precision)]


def check_name(name: str, value: str, supported: Sequence[str] | Mapping[str, str], reasons: Mapping[str, str]) -> None:
    """Raise ConfigError if a name is not supported, with the reason if there is one.

    Args:
        name: The argument of the `Trainer`.
        value: Its value.
        supported: The supported values.
        reasons: The reason for each regular expression of values that are not supported.
    """
    if value in supported:
        return
    reason = next((f": {reasons[pattern]}" for pattern in reasons if re.fullmatch(pattern, value)), "")
    raise ConfigError(f"trainer.{name}={value} is not supported{reason}; expected one of {', '.join(supported)}")


def is_batch_limit(value: int | float | None) -> bool:
    """Return whether a value is a fraction from 0 to 1, a whole number of batches, or None."""
    return value is None or 0 <= value <= 1 or (value > 1 and value % 1 == 0)


def is_duration(value: object) -> bool:
    """Return whether a value is `DD:HH:MM:SS`, a mapping of arguments of `datetime.timedelta`, or None."""
    if isinstance(value, Mapping):
        return bool(value) and set(value) <= {"weeks", "days", "hours", "minutes", "seconds"}
    return value is None or (isinstance(value, str) and DURATION.fullmatch(value) is not None)
