"""Tests of the selection of precision, memory format and compilation by timing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cnn_classifier.auto import timings
from cnn_classifier.auto.execution import select_execution
from cnn_classifier.auto.step_timer import StepTimer
from cnn_classifier.auto.timings import Execution, Timing
from cnn_classifier.training.devices import resolve_device, tune_malloc

AUTO = {"precision": "auto", "memory_format": "auto", "compile": "auto"}
DEFAULT = Execution("32-true", "channels_last", compile=False)
LONG_RUN_STEPS = 10**9


@pytest.fixture(autouse=True)
def cpu_with_bfloat16(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


def make_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def select_timing(
    requested: Mapping[str, Any] = AUTO, network: nn.Module | None = None, **kwargs: Any
) -> tuple[Timing, str]:
    timer = StepTimer(network or make_network(), torch.device("cpu"), (4, 3, 8, 8))
    return select_execution(timer, requested, **kwargs)


def select(
    requested: Mapping[str, Any] = AUTO, *, steps: int = LONG_RUN_STEPS, network: nn.Module | None = None
) -> tuple[Execution, str]:
    timing, reason = select_timing(requested, network, num_steps=steps)
    return timing.execution, reason


@pytest.fixture
def step_seconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The duration of a step on the simulated machine for each execution, and that of `compile`, in seconds."""
    seconds = {
        "32-true channels_last": 1.0,
        "32-true contiguous": 1.2,
        "bf16-mixed channels_last": 3.0,
        "bf16-mixed contiguous": 4.0,
        "compiled": 0.9,
        "compile": 40.0,
    }
    compiled: list[str] = []

    def measure(
        self: StepTimer, precision: str, memory_format: str, *, max_step_seconds: float = 0.0, duration: float = 0.0
    ) -> float:
        seconds["max_duration"] = max(seconds.get("max_duration", 0.0), duration)
        return seconds["compiled"] if compiled else seconds[f"{precision} {memory_format}"]

    def compile_copy(self: StepTimer, precision: str, memory_format: str) -> float:
        compiled.append(memory_format)
        return seconds["compile"]

    monkeypatch.setattr(StepTimer, "measure", measure)
    monkeypatch.setattr(StepTimer, "compile", compile_copy)
    return seconds


def test_short_run_uses_the_default_and_longer_run_the_fastest(step_seconds: dict[str, float]) -> None:
    step_seconds["bf16-mixed channels_last"] = 0.1
    assert select(steps=50) == (DEFAULT, "short run, alternatives not timed")
    assert select(steps=50) == (DEFAULT, "short run, alternatives not timed")
    assert select(steps=100)[0].precision == "bf16-mixed"


def test_bfloat16_is_not_timed_on_a_cpu_without_it(
    step_seconds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert select(steps=100)[1] == "images/s: 32-true, channels last 4 · 32-true, contiguous 3"


def test_fastest_execution_is_selected_and_all_are_printed(step_seconds: dict[str, float]) -> None:
    step_seconds["bf16-mixed channels_last"] = 0.4
    execution, reason = select(steps=100)
    assert execution == Execution("bf16-mixed", "channels_last", compile=False)
    assert reason == (
        "images/s: bf16-mixed, channels last 10 · 32-true, channels last 4 · 32-true, contiguous 3 · "
        "bf16-mixed, contiguous 1"
    )


def test_lower_precision_needs_a_minimum_speedup(step_seconds: dict[str, float]) -> None:
    step_seconds["bf16-mixed channels_last"] = 0.95
    assert select(steps=100)[0] == DEFAULT


def test_configured_values_are_unchanged(step_seconds: dict[str, float]) -> None:
    step_seconds["bf16-mixed contiguous"] = 0.1
    assert select({**AUTO, "precision": "32-true"}, steps=100)[0] == DEFAULT
    assert select({**AUTO, "memory_format": "contiguous"}, steps=100)[0] == Execution(
        "bf16-mixed", "contiguous", compile=False
    )
    assert select({**AUTO, "precision": "16-mixed"}) == (
        Execution("16-mixed", "channels_last", compile=False),
        "as configured",
    )
    fixed = {"precision": "bf16-mixed", "memory_format": "contiguous", "compile": True}
    assert select(fixed) == (Execution("bf16-mixed", "contiguous", compile=True), "as configured")


@pytest.mark.parametrize(
    ("steps", "compiled_seconds", "is_compiled"),
    [(1000, 0.5, False), (2000, 0.99, False), (2000, 0.9, True), (2000, 1.1, False)],
    ids=["short run", "small gain", "gain", "loss"],
)
def test_compilation_is_selected_if_it_saves_time_within_the_run(
    step_seconds: dict[str, float], steps: int, compiled_seconds: float, is_compiled: bool
) -> None:
    step_seconds["compiled"] = compiled_seconds
    assert select(steps=steps)[0].compile is is_compiled


def test_timings_are_cached_by_network_and_machine(
    step_seconds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = select(steps=100)
    monkeypatch.delattr(StepTimer, "measure")
    assert select(steps=100) == first
    assert select(steps=10) == first  # cached timings are used for short runs, too
    with pytest.raises(AttributeError):
        select(steps=100, network=nn.Sequential(make_network(), nn.ReLU()))
    monkeypatch.setattr(timings, "describe_device", lambda device: "another CPU")
    with pytest.raises(AttributeError):
        select(steps=100)


def test_dropout_rate_does_not_invalidate_cached_timings(
    step_seconds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = select(steps=100, network=nn.Sequential(make_network(), nn.Dropout(0.1)))
    monkeypatch.delattr(StepTimer, "measure")
    assert select(steps=100, network=nn.Sequential(make_network(), nn.Dropout(0.3))) == first


def test_default_is_timed_again_except_in_a_sweep(step_seconds: dict[str, float], tmp_path: Path) -> None:
    for sweep_dir, expected in [(None, 1.1), (tmp_path / "sweep", 1.0), (tmp_path / "another", 1.0)]:
        step_seconds["32-true channels_last"] = 1.0
        timing, _ = select_timing(max_seconds=100, sweep_dir=sweep_dir)
        assert timing.seconds_per_step == 1.0
        step_seconds["32-true channels_last"] = 1.1
        assert select_timing(max_seconds=100, sweep_dir=sweep_dir)[0].seconds_per_step == expected


def test_changed_machine_speed_invalidates_cached_timings(step_seconds: dict[str, float]) -> None:
    select_timing(max_seconds=100)
    step_seconds["32-true channels_last"] = 0.5
    step_seconds["bf16-mixed contiguous"] = step_seconds["bf16-mixed channels_last"] = 0.1
    assert select_timing(max_seconds=100)[0].execution.precision == "bf16-mixed"


def test_alternatives_are_not_timed_if_the_default_is_far_too_slow(step_seconds: dict[str, float]) -> None:
    for _ in range(2):
        assert select_timing(max_seconds=100, max_step_seconds=0.2) == (
            Timing(DEFAULT, 1.0),
            "too slow for the budget, alternatives not timed",
        )
    step_seconds["bf16-mixed channels_last"] = 0.2
    assert select_timing(max_seconds=100, max_step_seconds=0.3)[0].seconds_per_step == 0.2


@pytest.mark.parametrize("content", ["", "{", "[]", '[{"step": 1}]', '["fast"]'])
def test_damaged_cache_file_is_replaced(step_seconds: dict[str, float], home: Path, content: str) -> None:
    first = select(steps=100)
    [cache_file] = (home / "trials").iterdir()
    cache_file.write_text(content, encoding="utf-8")
    assert select(steps=100) == first
    assert (
        len(json.loads(cache_file.read_text(encoding="utf-8"))) == 3
    )  # bfloat16 was too slow in the first memory format


def test_unwritable_cache_directory_is_ignored(step_seconds: dict[str, float], home: Path) -> None:
    home.write_text("not a directory", encoding="utf-8")
    assert select(steps=100)[0] == DEFAULT


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_measure_does_not_modify_the_network(precision: str, memory_format: str) -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert StepTimer(network, torch.device("cpu"), (4, 3, 8, 8)).measure(precision, memory_format) > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network[0].weight.is_contiguous()
    assert network[0].weight.grad is None


def test_network_is_not_copied_if_nothing_is_timed(step_seconds: dict[str, float]) -> None:
    timer = StepTimer(make_network(), torch.device("cpu"), (4, 3, 8, 8))
    select_execution(
        timer, {"precision": "32-true", "memory_format": "contiguous", "compile": False}, num_steps=LONG_RUN_STEPS
    )
    assert "copy" not in vars(timer)


def test_augmentation_is_timed_with_the_step() -> None:
    shapes: list[torch.Size] = []

    class RecordShapes(nn.Module):
        def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            shapes.append(images.shape)
            return images, labels

    timer = StepTimer(make_network(), torch.device("cpu"), (4, 3, 8, 8), augment=RecordShapes())
    timer.measure("32-true", "contiguous")
    assert set(shapes) == {(4, 3, 8, 8)}
    assert len(shapes) > 2


@pytest.mark.parametrize(("limit", "steps"), [(2.0, 1), (5.0, 2), (10.0, 2)])
def test_measure_stops_early_above_the_limit(limit: float, steps: int) -> None:
    timer = StepTimer(make_network(), torch.device("cpu"), (4, 3, 8, 8))
    calls = []
    timer.time_step = lambda precision: calls.append(precision) or 9.0  # type: ignore[method-assign, func-returns-value]
    assert timer.measure("32-true", "contiguous", max_step_seconds=limit) == 9.0
    assert len(calls) == steps + (limit == 10.0)


def test_default_is_timed_for_one_percent_of_the_budget(step_seconds: dict[str, float]) -> None:
    for seconds, duration in [(60, 2.0), (900, 9.0)]:
        select_timing(max_seconds=seconds)
        assert step_seconds["max_duration"] == duration


def test_measure_times_more_steps_for_a_longer_duration() -> None:
    timer = StepTimer(make_network(), torch.device("cpu"), (4, 3, 8, 8))
    calls = []
    timer.time_step = lambda precision: calls.append(precision) or 0.5  # type: ignore[method-assign, func-returns-value]
    assert timer.measure("32-true", "contiguous") == timer.measure("32-true", "contiguous", duration=9.0) == 0.5
    assert len(calls) == (1 + 4) + (1 + 18)  # the first step of each is a warmup


def test_resolve_device_returns_the_device_of_the_accelerator() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


def test_tune_malloc_does_not_affect_results() -> None:
    tune_malloc()
    assert torch.ones(2**24).sum() == 2**24
