"""Choose precision, memory layout and compilation for a network on this machine, by trying them for a few seconds.

What pays differs from machine to machine: bfloat16 trains three times as fast as float32 on one CPU, and at a fraction
of its speed on the next.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnn_classifier.auto.step_timer import (
    MIN_TIMING_SECONDS,
    PRECISIONS,
    Execution,
    StepTimer,
    Timing,
    load_timings,
    save_timings,
    timing_key,
)
from cnn_classifier.config.instantiate import instantiate, instantiate_all
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.data import AUTO
from cnn_classifier.data.loading.augment import Augmentation
from cnn_classifier.files import cache_dir
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.training.devices import MEMORY_FORMATS, resolve_device
from cnn_classifier.training.optim import build_optimizer

# Seconds that a run must last to be worth a trial of a few, and to be worth compiling for, which takes a minute.
MIN_RUN_SECONDS = 60.0
MIN_COMPILED_RUN_SECONDS = 1200.0
TIMING_FRACTION = 0.01  # of a budget, to find out how many steps it buys
BEST_SPEEDUP = 4.0  # bfloat16 trained three times as fast as float32 at best (measured)
MAX_DRIFT = 1.5  # where a machine is so much faster or slower than before, what was measured is measured again


def select_execution(
    timer: StepTimer,
    requested: Mapping[str, Any],
    *,
    num_steps: int | None = None,
    max_seconds: float = 0.0,
    max_step_seconds: float = float("inf"),
    sweep_dir: Path | None = None,
) -> tuple[Timing, str]:
    """What to compute with, how long a step takes so, and why.

    Args:
        trial: Of what is trained, where it is trained.
        asked: `precision`, `layout` and `compile`, each `auto` or a value, which is taken; and the `optimizer`'s name.
        steps: How many the run has: a short one is not worth a trial. None: as many as fit into `seconds`.
        seconds: That the run may take.
        limit: Of a step. Where the usual way takes several times as long, others are not tried.
        sweep: The folder of the sweep that this is a job of; its jobs are to be alike, however busy the machine is.
    """
    default, *alternatives = list_candidates(requested, timer.device)
    is_selectable = default.precision in PRECISIONS and (alternatives or requested["compile"] == AUTO)
    if not is_selectable and num_steps is not None:
        return Timing(default, seconds_per_step=0.0), "as configured"
    cache_path = (
        cache_dir() / "trials" if sweep_dir is None else sweep_dir / ".trials"
    ) / f"{timing_key(timer, requested)}.json"
    timings = load_timings(cache_path)
    # How long a run will be rests on how fast the machine is today, and so does what others are compared with.
    if not timings or (sweep_dir is None and (num_steps is None or len(timings) < 2)):
        duration = max(max_seconds * TIMING_FRACTION, MIN_TIMING_SECONDS) if num_steps is None else MIN_TIMING_SECONDS
        default_seconds = timer.measure(
            default.precision,
            default.memory_format,
            max_step_seconds=BEST_SPEEDUP * max_step_seconds,
            duration=duration,
        )
        timings = rescale_to_current_speed(timings, Timing(default, default_seconds))
        save_timings(cache_path, timings)
    if timings[0].seconds_per_step > BEST_SPEEDUP * max_step_seconds:
        return timings[0], "too slow to try others"
    planned_steps = int(max_seconds / timings[0].seconds_per_step) if num_steps is None else num_steps
    if len(timings) < 2 and is_selectable and timings[0].total_seconds(planned_steps) >= MIN_RUN_SECONDS:
        timings = time_candidates(timer, timings, alternatives, planned_steps, compile=requested["compile"] == AUTO)
        save_timings(cache_path, timings)
    if len(timings) < 2:
        return timings[0], "the run is too short to try others" if is_selectable else "as configured"
    timings.sort(key=lambda tried: tried.total_seconds(planned_steps))
    speeds = [f"{timing.execution} {timer.batch_shape[0] / timing.seconds_per_step:.0f}" for timing in timings]
    return timings[0], f"images/s tried: {' · '.join(speeds)}"


def rescale_to_current_speed(previous: Sequence[Timing], current: Timing) -> list[Timing]:
    """What was measured before, at today's speed; the usual way alone if the machine was busy then, or is now."""
    slowdown = current.seconds_per_step / previous[0].seconds_per_step if previous else 0.0
    if 1 / MAX_DRIFT < slowdown < MAX_DRIFT:
        return [replace(timing, seconds_per_step=timing.seconds_per_step * slowdown) for timing in previous]
    return [current]


def time_candidates(
    timer: StepTimer, timings: list[Timing], candidates: Sequence[Execution], num_steps: int, *, compile: bool
) -> list[Timing]:
    """Measure the other ways, too; compiled, only the best of them, and only if the run is long enough for that."""
    slow_precisions: set[str] = set()
    for execution in candidates:
        if execution.precision in slow_precisions:
            continue
        max_step_seconds = 2 * min(timing.seconds_per_step for timing in timings)
        timings = [
            *timings,
            Timing(
                execution,
                timer.measure(execution.precision, execution.memory_format, max_step_seconds=max_step_seconds),
            ),
        ]
        if timings[-1].seconds_per_step > max_step_seconds:
            slow_precisions.add(execution.precision)
    best = min(timings, key=lambda tried: tried.total_seconds(num_steps))
    if compile and best.total_seconds(num_steps) > MIN_COMPILED_RUN_SECONDS:
        with suppress(Exception):  # no C++ compiler, or a network that cannot be compiled: whatever it raises
            startup_seconds = timer.compile(best.execution.precision, best.execution.memory_format)
            seconds_per_step = timer.measure(best.execution.precision, best.execution.memory_format)
            timings = [*timings, Timing(replace(best.execution, compile=True), seconds_per_step, startup_seconds)]
    return timings


def list_candidates(requested: Mapping[str, Any], device: torch.device) -> list[Execution]:
    """The precisions and layouts that are left open, the usual way first and the likeliest to be faster next."""
    # Without these instructions bfloat16 is computed in float32 and rounded: ten times as slow (measured with AVX2).
    has_fast_bfloat16 = device.type == "cuda" or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    supported_precisions = list(PRECISIONS) if device.type in ("cpu", "cuda") and has_fast_bfloat16 else ["32-true"]
    precisions = supported_precisions if requested["precision"] == AUTO else [str(requested["precision"])]
    memory_formats = list(MEMORY_FORMATS) if requested["memory_format"] == AUTO else [requested["memory_format"]]
    is_compiled = requested["compile"] is True
    return [
        Execution(precision, memory_format, is_compiled) for memory_format in memory_formats for precision in precisions
    ]


def tune_execution(
    values: Mapping[str, Any], num_classes: int, num_images: int, *, max_step_seconds: float = float("inf")
) -> tuple[Timing, str]:
    """How the steps are best computed here, unless the values ask for something, and why.

    Args:
        values: The plain configuration; only its number of epochs and how it computes may still be `auto`.
        num_classes: Length of the logits.
        images: About how many there are to train on.
        limit: The seconds that a step may take.
    """
    trainer_config, dataset = values["trainer"], values["dataset"]
    shape = {"channels": dataset["channels"], "image_size": dataset["image_size"]}
    network: nn.Module = instantiate(values["model"], nn.Module, num_classes=num_classes, **shape)
    if isinstance(network, FineTunable):
        network.set_progress(0.5)  # what learns in the middle of the run takes the time of most of it
    train_size = max(dataset["train_sizes"] or [dataset["image_size"]])
    num_steps = trainer_config["max_steps"]
    if num_steps == -1 and trainer_config["max_epochs"] != AUTO:
        num_steps = max(trainer_config["max_epochs"] or 1, 1) * max(num_images // dataset["batch_size"], 1)
    optimizer = values["optimizer"] | {"lr": 1e-6}  # of the trial; it may be `auto` yet
    timer = StepTimer(
        network,
        resolve_device(trainer_config["accelerator"]),
        batch_shape=(dataset["batch_size"], dataset["channels"], train_size, train_size),
        make_optimizer=partial(build_optimizer, optimizer),
        augment=Augmentation(instantiate_all(values["augment"], nn.Module), num_classes=num_classes),
    )
    return select_execution(
        timer,
        values["compute"] | {"precision": trainer_config["precision"], "optimizer": optimizer["_target_"]},
        num_steps=None if num_steps == -1 else num_steps,
        max_seconds=parse_duration(values["budget"], num_images),
        max_step_seconds=max_step_seconds,
        sweep_dir=Path(values["run_dir"]).parent if values["sweep"]["name"] else None,
    )
