"""Selection of precision, memory format and compilation by timing training steps on this machine.

The fastest choice depends on the machine: bfloat16 trains three times as fast as float32 on one CPU, and several times
slower on another.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnn_classifier.auto.dataset_stats import estimate_batches
from cnn_classifier.auto.memory import build_trial
from cnn_classifier.auto.step_timer import MIN_TIMING_SECONDS, PRECISIONS, StepTimer
from cnn_classifier.auto.timings import Execution, Timing, load_timings, save_timings, timing_key
from cnn_classifier.config.instantiate import instantiate_all
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.config.trainer import canonical_precision
from cnn_classifier.data import AUTO
from cnn_classifier.data.loading.augment import Augmentation
from cnn_classifier.files import cache_dir
from cnn_classifier.training.devices import MEMORY_FORMATS, has_fast_bfloat16
from cnn_classifier.training.optim import build_optimizer

# Shorter runs, in seconds, do not time alternatives (which takes a few seconds) or compile (which takes a minute).
MIN_RUN_SECONDS = 60.0
MIN_COMPILED_RUN_SECONDS = 1200.0
TIMING_FRACTION = 0.01  # fraction of a budget that is spent on timing the default
BEST_SPEEDUP = 4.0  # upper bound on the speedup over the default; bfloat16 reached 3 at best (measured)
INFERENCE_BATCH_SIZE = 16
MAX_DRIFT = 1.5  # all candidates are timed again if the speed of the machine changed by more than this factor


def select_execution(
    timer: StepTimer,
    requested: Mapping[str, Any],
    *,
    num_steps: int | None = None,
    max_seconds: float = 0.0,
    max_step_seconds: float = float("inf"),
    sweep_dir: Path | None = None,
) -> tuple[Timing, str]:
    """Select the fastest execution for a run; return its timing and the reason.

    Args:
        timer: The timer of the network that is trained, on the device on which it is trained.
        requested: The configured `precision`, `memory_format` and `compile`, each of which may be `auto`, and the
            class name of the `optimizer`.
        num_steps: The number of steps of the run. `None`: as many as fit into `max_seconds`.
        max_seconds: The duration of the run in seconds, if `num_steps` is `None`.
        max_step_seconds: The longest useful step in seconds. If the default is slower than this by more than any
            alternative could gain, no alternative is timed.
        sweep_dir: The directory of the sweep of which the run is a job. The jobs of a sweep share the timings of its
            first job, so that they resolve to the same values under any load.
    """
    default, *alternatives = list_candidates(requested, timer.device)
    is_selectable = default.precision in PRECISIONS and (alternatives or requested["compile"] == AUTO)
    if not is_selectable and num_steps is not None:
        return Timing(default, seconds_per_step=0.0), "as configured"
    timings_dir = cache_dir() / "trials" if sweep_dir is None else sweep_dir / ".trials"
    cache_path = timings_dir / f"{timing_key(timer, requested)}.json"
    timings = load_timings(cache_path)
    # The number of steps of a run depends on the current speed of the machine, hence the default is timed again.
    if not timings or (sweep_dir is None and (num_steps is None or len(timings) < 2)):
        duration = max(max_seconds * TIMING_FRACTION, MIN_TIMING_SECONDS) if num_steps is None else MIN_TIMING_SECONDS
        print(f"timing training steps at {timer.batch_shape[-1]} px", flush=True)
        limits = {"max_step_seconds": BEST_SPEEDUP * max_step_seconds, "duration": duration}
        default_seconds = timer.measure(default.precision, default.memory_format, **limits)
        timings = rescale_to_current_speed(timings, Timing(default, default_seconds))
        save_timings(cache_path, timings)
    if timings[0].seconds_per_step > BEST_SPEEDUP * max_step_seconds:
        return timings[0], "too slow for the budget, alternatives not timed"
    planned_steps = int(max_seconds / timings[0].seconds_per_step) if num_steps is None else num_steps
    if len(timings) < 2 and is_selectable and timings[0].total_seconds(planned_steps) >= MIN_RUN_SECONDS:
        print("timing other precisions and memory formats", flush=True)
        timings = time_candidates(timer, timings, alternatives, planned_steps, compile=requested["compile"] == AUTO)
        save_timings(cache_path, timings)
    if len(timings) < 2:
        return timings[0], "short run, alternatives not timed" if is_selectable else "as configured"
    timings.sort(key=lambda timing: timing.total_seconds(planned_steps))
    speeds = [f"{timing.execution} {timer.images_per_step / timing.seconds_per_step:.0f}" for timing in timings]
    return timings[0], f"images/s: {' · '.join(speeds)}"


def rescale_to_current_speed(previous: Sequence[Timing], current: Timing) -> list[Timing]:
    """Scale earlier timings to the current speed; return the current timing alone if the speeds differ too much."""
    slowdown = current.seconds_per_step / previous[0].seconds_per_step if previous else 0.0
    if 1 / MAX_DRIFT < slowdown < MAX_DRIFT:
        return [replace(timing, seconds_per_step=timing.seconds_per_step * slowdown) for timing in previous]
    return [current]


def time_candidates(
    timer: StepTimer, timings: list[Timing], candidates: Sequence[Execution], num_steps: int, *, compile: bool
) -> list[Timing]:
    """Time the candidates and, if the run is long enough, the best of them compiled; return all timings."""
    slow_precisions: set[str] = set()
    for execution in candidates:
        if execution.precision in slow_precisions:
            continue
        max_step_seconds = 2 * min(timing.seconds_per_step for timing in timings)
        step_seconds = timer.measure(execution.precision, execution.memory_format, max_step_seconds=max_step_seconds)
        timings = [*timings, Timing(execution, step_seconds)]
        if step_seconds > max_step_seconds:
            slow_precisions.add(execution.precision)
    best = min(timings, key=lambda timing: timing.total_seconds(num_steps))
    if compile and best.total_seconds(num_steps) > MIN_COMPILED_RUN_SECONDS:
        with suppress(Exception):  # no C++ compiler, or a network that cannot be compiled
            startup_seconds = timer.compile(best.execution.precision, best.execution.memory_format)
            seconds_per_step = timer.measure(best.execution.precision, best.execution.memory_format)
            timings = [*timings, Timing(replace(best.execution, compile=True), seconds_per_step, startup_seconds)]
    return timings


def list_candidates(requested: Mapping[str, Any], device: torch.device) -> list[Execution]:
    """Return the candidates that the configuration allows: the default first, then in order of expected speed."""
    supported_precisions = list(PRECISIONS) if has_fast_bfloat16(device) else ["32-true"]
    precisions = (
        supported_precisions if requested["precision"] == AUTO else [canonical_precision(requested["precision"])]
    )
    memory_formats = list(MEMORY_FORMATS) if requested["memory_format"] == AUTO else [requested["memory_format"]]
    is_compiled = requested["compile"] is True
    return [
        Execution(precision, memory_format, is_compiled) for memory_format in memory_formats for precision in precisions
    ]


def measure_inference(values: Mapping[str, Any], num_classes: int) -> float:
    """Return the duration of inference in float32 per image, in seconds.

    Args:
        values: The plain configuration. Values on which the model depends must be resolved.
        num_classes: The number of classes.
    """
    trial = build_trial(values, num_classes)
    return StepTimer(trial.network, trial.device, (INFERENCE_BATCH_SIZE, *trial.image_shape)).measure_inference()


def tune_execution(
    values: Mapping[str, Any], num_classes: int, num_images: int, *, max_step_seconds: float = float("inf")
) -> tuple[Timing, str]:
    """Select precision, memory format and compilation for a configuration; return the timing and the reason.

    Args:
        values: The plain configuration. Values on which the model or the batch depend must be resolved.
        num_classes: The number of classes.
        num_images: The estimated number of training images.
        max_step_seconds: The longest useful step in seconds, see `select_execution`.

    Raises:
        ConfigError: If the model, the optimizer or an augmentation cannot be built.
    """
    trainer_config, batch_size = values["trainer"], values["dataset"]["batch_size"]
    num_steps = trainer_config["max_steps"]
    if num_steps == -1 and trainer_config["max_epochs"] != AUTO:
        num_steps = max(trainer_config["max_epochs"] or 1, 1) * estimate_batches(values, num_images)
    optimizer = values["optimizer"] | {"lr": 1e-6}  # `lr` may still be `auto`
    trial = build_trial(values, num_classes)
    # The images that fit in float32 fit in every precision.
    trial_size = trial.fit_batch_size(batch_size, "32-true")
    timer = StepTimer(
        trial.network,
        trial.device,
        batch_shape=(trial_size, *trial.image_shape),
        make_optimizer=partial(build_optimizer, optimizer),
        augment=Augmentation(instantiate_all(values["augment"], nn.Module), num_classes=num_classes),
        num_parts=round(batch_size / trial_size),
    )
    return select_execution(
        timer,
        values["compute"] | {"precision": trainer_config["precision"], "optimizer": optimizer["_target_"]},
        num_steps=None if num_steps == -1 else num_steps,
        max_seconds=parse_duration(values["budget"], num_images),
        max_step_seconds=max_step_seconds,
        sweep_dir=Path(values["run_dir"]).parent if values["sweep"]["name"] else None,
    )
