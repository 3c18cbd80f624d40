"""The machine decides how to compute: by a trial where it pays, once, and never against what was asked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cnn_classifier.auto import step_timer as trial_memory
from cnn_classifier.auto.execution import select_execution
from cnn_classifier.auto.step_timer import Execution, StepTimer, Timing
from cnn_classifier.training.devices import resolve_device, tune_malloc

AUTO = {"precision": "auto", "memory_format": "auto", "compile": "auto"}
USUAL = Execution("32-true", "channels_last", compile=False)
LONG = 10**9


@pytest.fixture(autouse=True)
def processor_with_bfloat16(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def measured_for(asked: Mapping[str, Any] = AUTO, net: nn.Module | None = None, **more: Any) -> tuple[Timing, str]:
    return select_execution(StepTimer(net or network(), torch.device("cpu"), (4, 3, 8, 8)), asked, **more)


def chosen(
    asked: Mapping[str, Any] = AUTO, *, steps: int = LONG, net: nn.Module | None = None
) -> tuple[Execution, str]:
    measured, why = measured_for(asked, net, num_steps=steps)
    return measured.execution, why


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A machine on which every way takes so many seconds a step, and compiling so many."""
    speeds = {
        "32-true channels_last": 1.0,
        "32-true contiguous": 1.2,
        "bf16-mixed channels_last": 3.0,
        "bf16-mixed contiguous": 4.0,
        "compiled": 0.9,
        "compile": 40.0,
    }
    compiled = []

    def seconds(
        self: StepTimer, precision: str, layout: str, *, max_step_seconds: float = 0.0, duration: float = 0.0
    ) -> float:
        speeds["lasting"] = max(speeds.get("lasting", 0.0), duration)
        return speeds["compiled"] if compiled else speeds[f"{precision} {layout}"]

    def compile_copy(self: StepTimer, precision: str, layout: str) -> float:
        compiled.append(layout)
        return speeds["compile"]

    monkeypatch.setattr(StepTimer, "measure", seconds)
    monkeypatch.setattr(StepTimer, "compile", compile_copy)
    return speeds


def test_a_short_run_is_computed_in_the_usual_way_and_a_longer_one_after_it_tries(machine: dict[str, float]) -> None:
    machine["bf16-mixed channels_last"] = 0.1
    assert chosen(steps=50) == (USUAL, "the run is too short to try others")
    assert chosen(steps=50) == (USUAL, "the run is too short to try others")
    assert chosen(steps=100)[0].precision == "bf16-mixed"


def test_a_processor_without_bfloat16_is_not_asked_for_it(
    machine: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert chosen(steps=100)[1] == "images/s tried: 32-true, channels last 4 · 32-true, contiguous 3"


def test_the_fastest_way_is_taken_and_the_others_are_told(machine: dict[str, float]) -> None:
    machine["bf16-mixed channels_last"] = 0.4
    choice, why = chosen(steps=100)
    assert choice == Execution("bf16-mixed", "channels_last", compile=False)
    assert why == (
        "images/s tried: bf16-mixed, channels last 10 · 32-true, channels last 4 · 32-true, contiguous 3 · "
        "bf16-mixed, contiguous 1"
    )


def test_less_exact_numbers_must_pay(machine: dict[str, float]) -> None:
    machine["bf16-mixed channels_last"] = 0.95
    assert chosen(steps=100)[0] == USUAL


def test_what_is_asked_for_is_taken(machine: dict[str, float]) -> None:
    machine["bf16-mixed contiguous"] = 0.1
    assert chosen({**AUTO, "precision": "32-true"}, steps=100)[0] == USUAL
    assert chosen({**AUTO, "memory_format": "contiguous"}, steps=100)[0] == Execution(
        "bf16-mixed", "contiguous", compile=False
    )
    assert chosen({**AUTO, "precision": "16-mixed"}) == (
        Execution("16-mixed", "channels_last", compile=False),
        "as configured",
    )
    fixed = {"precision": "bf16-mixed", "memory_format": "contiguous", "compile": True}
    assert chosen(fixed) == (Execution("bf16-mixed", "contiguous", compile=True), "as configured")


@pytest.mark.parametrize(
    ("steps", "seconds", "pays"),
    [(1000, 0.5, False), (2000, 0.99, False), (2000, 0.9, True), (2000, 1.1, False)],
    ids=["too short to try", "too little to gain", "gained", "lost"],
)
def test_compiling_must_pay_back_within_the_run(
    machine: dict[str, float], steps: int, seconds: float, pays: bool
) -> None:
    machine["compiled"] = seconds
    assert chosen(steps=steps)[0].compile is pays


def test_a_trial_is_made_once_a_network_batch_and_machine(
    machine: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chosen(steps=100)
    monkeypatch.delattr(StepTimer, "measure")
    assert chosen(steps=100) == first
    assert chosen(steps=10) == first  # what is known costs nothing
    with pytest.raises(AttributeError):
        chosen(steps=100, net=nn.Sequential(network(), nn.ReLU()))
    monkeypatch.setattr(trial_memory, "describe_processor", lambda: "another")
    with pytest.raises(AttributeError):
        chosen(steps=100)


def test_how_strongly_images_are_changed_asks_for_no_other_trial(
    machine: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chosen(steps=100, net=nn.Sequential(network(), nn.Dropout(0.1)))
    monkeypatch.delattr(StepTimer, "measure")
    assert chosen(steps=100, net=nn.Sequential(network(), nn.Dropout(0.3))) == first


def test_the_speed_of_today_counts_but_in_a_sweep_that_of_its_first_job(
    machine: dict[str, float], tmp_path: Path
) -> None:
    for sweep, slower in [(None, 1.1), (tmp_path / "sweep", 1.0), (tmp_path / "another", 1.0)]:
        machine["32-true channels_last"] = 1.0
        before, _ = measured_for(max_seconds=100, sweep_dir=sweep)
        assert before.seconds_per_step == 1.0
        machine["32-true channels_last"] = 1.1
        assert measured_for(max_seconds=100, sweep_dir=sweep)[0].seconds_per_step == slower


def test_a_trial_that_the_machine_was_busy_in_is_made_again(machine: dict[str, float]) -> None:
    measured_for(max_seconds=100)
    machine["32-true channels_last"] = 0.5
    machine["bf16-mixed contiguous"] = machine["bf16-mixed channels_last"] = 0.1
    assert measured_for(max_seconds=100)[0].execution.precision == "bf16-mixed"


def test_where_the_usual_way_is_far_too_slow_others_are_not_tried(machine: dict[str, float]) -> None:
    for _ in range(2):
        assert measured_for(max_seconds=100, max_step_seconds=0.2) == (Timing(USUAL, 1.0), "too slow to try others")
    machine["bf16-mixed channels_last"] = 0.2
    assert measured_for(max_seconds=100, max_step_seconds=0.3)[0].seconds_per_step == 0.2


@pytest.mark.parametrize("content", ["", "{", "[]", '[{"step": 1}]', '["fast"]'])
def test_a_damaged_memory_is_tried_again(machine: dict[str, float], home: Path, content: str) -> None:
    first = chosen(steps=100)
    [memory] = (home / "trials").iterdir()
    memory.write_text(content, encoding="utf-8")
    assert chosen(steps=100) == first
    assert len(json.loads(memory.read_text(encoding="utf-8"))) == 3  # one precision was hopeless in its first layout


def test_a_home_that_cannot_be_written_is_done_without(machine: dict[str, float], home: Path) -> None:
    home.write_text("no folder", encoding="utf-8")
    assert chosen(steps=100)[0] == USUAL


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_a_real_trial_leaves_the_network_as_it_is(precision: str, layout: str) -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert StepTimer(net, torch.device("cpu"), (4, 3, 8, 8)).measure(precision, layout) > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net[0].weight.is_contiguous()
    assert net[0].weight.grad is None


def test_nothing_is_copied_for_what_is_not_tried(machine: dict[str, float]) -> None:
    trial = StepTimer(network(), torch.device("cpu"), (4, 3, 8, 8))
    select_execution(trial, {"precision": "32-true", "memory_format": "contiguous", "compile": False}, num_steps=LONG)
    assert "copy" not in vars(trial)


def test_what_changes_images_is_timed_with_the_step() -> None:
    changed: list[torch.Size] = []

    class Watching(nn.Module):
        def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            changed.append(images.shape)
            return images, labels

    trial = StepTimer(network(), torch.device("cpu"), (4, 3, 8, 8), augment=Watching())
    trial.measure("32-true", "contiguous")
    assert set(changed) == {(4, 3, 8, 8)}
    assert len(changed) > 2


@pytest.mark.parametrize(("limit", "steps"), [(2.0, 1), (5.0, 2), (10.0, 2)])
def test_a_way_that_is_too_slow_is_given_up_early(limit: float, steps: int) -> None:
    trial = StepTimer(network(), torch.device("cpu"), (4, 3, 8, 8))
    made = []
    trial.time_step = lambda precision: made.append(precision) or 9.0  # type: ignore[method-assign, func-returns-value]
    assert trial.measure("32-true", "contiguous", max_step_seconds=limit) == 9.0
    assert len(made) == steps + (limit == 10.0)


def test_a_budget_is_foreseen_with_a_hundredth_of_it(machine: dict[str, float]) -> None:
    for seconds, looked in [(60, 2.0), (900, 9.0)]:
        measured_for(max_seconds=seconds)
        assert machine["lasting"] == looked


def test_what_foresees_a_long_run_is_looked_at_for_longer() -> None:
    trial = StepTimer(network(), torch.device("cpu"), (4, 3, 8, 8))
    made = []
    trial.time_step = lambda precision: made.append(precision) or 0.5  # type: ignore[method-assign, func-returns-value]
    assert trial.measure("32-true", "contiguous") == trial.measure("32-true", "contiguous", duration=9.0) == 0.5
    assert len(made) == (1 + 4) + (1 + 18)  # the first step of each does not count


def test_the_device_is_the_one_that_lightning_takes() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


def test_memory_that_is_freed_is_kept_where_the_c_library_can() -> None:
    tune_malloc()
    assert torch.ones(2**24).sum() == 2**24
