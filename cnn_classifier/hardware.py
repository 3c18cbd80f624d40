"""Choose precision, memory layout and compilation for a network on this machine, by trying them for a few seconds.

What pays differs from machine to machine: bfloat16 trains three times as fast as float32 on one CPU, and at a fraction
of its speed on the next.
"""

import ctypes
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.budget import AUTO
from cnn_classifier.storage import cache_home
from cnn_classifier.trial import LAYOUTS, PRECISIONS, SECONDS, Choice, Measured, Trial
from cnn_classifier.trial_memory import name_of, recall, remember

# Seconds that a run must last to be worth a trial of a few, and to be worth compiling for, which takes a minute.
WORTH_A_TRIAL = 60.0
WORTH_COMPILING = 1200.0
SHARE_TO_FORESEE = 0.01  # of a budget, to find out how many steps it buys
HOPED = 4.0  # bfloat16 trained three times as fast as float32 at best (measured)
MOOD = 1.5  # where a machine is so much faster or slower than before, what was measured is measured again
# malloc.h
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def choose(
    trial: Trial,
    asked: Mapping[str, Any],
    *,
    steps: int | None = None,
    seconds: float = 0.0,
    limit: float = float("inf"),
    sweep: Path | None = None,
) -> tuple[Measured, str]:
    """What to compute with, how long a step takes so, and why.

    Args:
        trial: Of what is trained, where it is trained.
        asked: `precision`, `layout` and `compile`, each `auto` or a value, which is taken; and the `optimizer`'s name.
        steps: How many the run has: a short one is not worth a trial. None: as many as fit into `seconds`.
        seconds: That the run may take.
        limit: Of a step. Where the usual way takes several times as long, others are not tried.
        sweep: The folder of the sweep that this is a job of; its jobs are to be alike, however busy the machine is.
    """
    first, *others = open_choices(asked, trial.device)
    open_to_choice = first.precision in PRECISIONS and (others or asked["compile"] == AUTO)
    if not open_to_choice and steps is not None:
        return Measured(first, step=0.0), "as configured"
    memory = (cache_home() / "trials" if sweep is None else sweep / ".trials") / f"{name_of(trial, asked)}.json"
    measured = recall(memory)
    # How long a run will be rests on how fast the machine is today, and so does what others are compared with.
    if not measured or (sweep is None and (steps is None or len(measured) < 2)):
        lasting = max(seconds * SHARE_TO_FORESEE, SECONDS) if steps is None else SECONDS
        usual = trial.seconds(first.precision, first.layout, limit=HOPED * limit, lasting=lasting)
        measured = as_of_today(measured, Measured(first, usual))
        remember(memory, measured)
    if measured[0].step > HOPED * limit:
        return measured[0], "too slow to try others"
    planned = int(seconds / measured[0].step) if steps is None else steps
    if len(measured) < 2 and open_to_choice and measured[0].total(planned) >= WORTH_A_TRIAL:
        measured = try_others(trial, measured, others, planned, compile=asked["compile"] == AUTO)
        remember(memory, measured)
    if len(measured) < 2:
        return measured[0], "the run is too short to try others" if open_to_choice else "as configured"
    measured.sort(key=lambda tried: tried.total(planned))
    speeds = [f"{tried.choice} {trial.batch_shape[0] / tried.step:.0f}" for tried in measured]
    return measured[0], f"images/s tried: {' · '.join(speeds)}"


def as_of_today(before: Sequence[Measured], usual: Measured) -> list[Measured]:
    """What was measured before, at today's speed; the usual way alone if the machine was busy then, or is now."""
    slower = usual.step / before[0].step if before else 0.0
    if 1 / MOOD < slower < MOOD:
        return [replace(tried, step=tried.step * slower) for tried in before]
    return [usual]


def try_others(
    trial: Trial, measured: list[Measured], others: Sequence[Choice], steps: int, *, compile: bool
) -> list[Measured]:
    """Measure the other ways, too; compiled, only the best of them, and only if the run is long enough for that."""
    hopeless: set[str] = set()
    for choice in others:
        if choice.precision in hopeless:
            continue
        limit = 2 * min(tried.step for tried in measured)
        measured = [*measured, Measured(choice, trial.seconds(choice.precision, choice.layout, limit=limit))]
        if measured[-1].step > limit:
            hopeless.add(choice.precision)
    best = min(measured, key=lambda tried: tried.total(steps))
    if compile and best.total(steps) > WORTH_COMPILING:
        with suppress(Exception):  # no C++ compiler, or a network that cannot be compiled: whatever it raises
            start = trial.compile(best.choice.precision, best.choice.layout)
            step = trial.seconds(best.choice.precision, best.choice.layout)
            measured = [*measured, Measured(replace(best.choice, compile=True), step, start)]
    return measured


def open_choices(asked: Mapping[str, Any], device: torch.device) -> list[Choice]:
    """The precisions and layouts that are left open, the usual way first and the likeliest to be faster next."""
    # Without these instructions bfloat16 is computed in float32 and rounded: ten times as slow (measured with AVX2).
    with_bfloat16 = device.type == "cuda" or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    ours = list(PRECISIONS) if device.type in ("cpu", "cuda") and with_bfloat16 else ["32-true"]
    precisions = ours if asked["precision"] == AUTO else [str(asked["precision"])]
    layouts = list(LAYOUTS) if asked["layout"] == AUTO else [asked["layout"]]
    compiled = asked["compile"] is True
    return [Choice(precision, layout, compiled) for layout in layouts for precision in precisions]


def device_of(accelerator: str) -> torch.device:
    """The device that Lightning takes for this name: `cpu`, or the fastest there is."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None and accelerator != "cpu" else torch.device("cpu")


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free, instead of giving it back in every step and faulting it in anew.

    glibc maps every large block afresh: 160,000 page faults a step of the cnn with 32 images of 128 px. Kept, the same
    step trains 1.5 times as many images a second on 2 cores for a quarter more memory (measured).
    """
    with suppress(OSError, AttributeError):  # no glibc
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
