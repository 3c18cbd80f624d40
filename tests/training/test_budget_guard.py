"""A run ends within its budget, on machines that are faster or slower than expected, also if it is resumed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.classifiers import make_classifier
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, TensorDataset

from cnn_classifier.data.loading import epochs as epochs_module
from cnn_classifier.data.loading.epochs import BudgetPlan, EpochCosts
from cnn_classifier.training.callbacks import budget_guard
from cnn_classifier.training.callbacks.budget_guard import BudgetGuard
from cnn_classifier.training.callbacks.last_checkpoint import LastCheckpoint

ONE_CYCLE = {"_target_": "cnn_classifier.training.optim.CosineOneCycleLR", "total_steps": None}
pytestmark = pytest.mark.filterwarnings("ignore")  # a plain `Trainer` warns about loaders without workers
NUM_BATCHES, VAL_SECONDS = 20, 5.0


class Clock(Callback):
    """A clock that advances with the batches and the validation, and records learning rates.

    Args:
        seconds_per_batch: The duration of a training batch; a list for each epoch, of which the last is repeated.
    """

    def __init__(self, *seconds_per_batch: float) -> None:
        self.now, self.durations, self.learning_rates = 1000.0, seconds_per_batch, list[float]()

    def time(self) -> float:
        return self.now

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        self.now += self.durations[min(trainer.current_epoch, len(self.durations) - 1)]
        self.learning_rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        self.now += VAL_SECONDS


@pytest.fixture
def run_clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    def start(*seconds_per_batch: float) -> Clock:
        clock = Clock(*seconds_per_batch)
        for module in (budget_guard, epochs_module):
            monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.time))
        return clock

    return start


def fit(clock: Clock, guard: BudgetGuard, *, epochs: int, ckpt_path: Path | None = None, **options: Any) -> Trainer:
    """Train with batches that take the time of the clock."""
    classifier = make_classifier(scheduler=options.pop("scheduler", ONE_CYCLE))
    data = TensorDataset(torch.zeros(2 * NUM_BATCHES, 3, 8, 8), torch.zeros(2 * NUM_BATCHES, dtype=torch.int64))
    callbacks = [clock, guard, *options.pop("callbacks", [])]
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=any(isinstance(callback, LastCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **options,
    )
    loader = DataLoader(data, batch_size=2)
    trainer.fit(classifier, loader, loader, ckpt_path=ckpt_path)
    return trainer


def make_plan(clock: Clock, seconds: float, *, epoch_seconds: float, max_epochs: int = 100) -> BudgetPlan:
    return BudgetPlan(clock.now + seconds, 0.0, epoch_seconds, max_epochs)


@pytest.mark.parametrize(
    "durations",
    [
        (1.0,),  # as expected: 25 s per epoch, 8 epochs
        (2.0,),  # slower
        (0.5,),  # faster
        (1.0, 1.0, 1.0, 3.0),  # another process starts
        (3.0, 1.0),  # the first epoch is slow
    ],
)
def test_training_uses_its_time_and_anneals_the_learning_rate(run_clock: Any, durations: tuple[float, ...]) -> None:
    clock = run_clock(*durations)
    fit(clock, BudgetGuard(make_plan(clock, 200.0, epoch_seconds=25.0)), epochs=8)

    assert 190 <= clock.now - 1000 <= 203  # a batch takes up to 3 s
    assert clock.learning_rates[-1] < 0.1 * max(clock.learning_rates)


def test_training_shorter_than_an_epoch_ends_in_time(run_clock: Any) -> None:
    clock = run_clock(5.0)  # 100 s per epoch
    trainer = fit(clock, BudgetGuard(make_plan(clock, 60.0, epoch_seconds=20.0)), epochs=3)

    assert 45 <= clock.now - 1000 <= 65
    assert 0 < trainer.global_step < NUM_BATCHES


def test_training_ends_after_the_useful_epochs(run_clock: Any) -> None:
    clock = run_clock(0.1)
    trainer = fit(clock, BudgetGuard(make_plan(clock, 1000.0, epoch_seconds=25.0, max_epochs=6)), epochs=4)
    assert trainer.global_step == 6 * NUM_BATCHES


def test_change_of_the_length_is_printed(run_clock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = run_clock(2.0)
    fit(clock, BudgetGuard(make_plan(clock, 200.0, epoch_seconds=25.0)), epochs=8)
    assert "epochs fit into the budget instead of 7.6" in capsys.readouterr().out


def test_schedule_of_torch_with_a_planned_length_is_not_extended(run_clock: Any) -> None:
    clock = run_clock(0.5)
    scheduler = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1, "total_steps": None}
    trainer = fit(clock, BudgetGuard(make_plan(clock, 200.0, epoch_seconds=50.0)), epochs=4, scheduler=scheduler)
    assert trainer.global_step == 4 * NUM_BATCHES


def test_run_of_a_fixed_length_is_unchanged(run_clock: Any) -> None:
    clock = run_clock(10.0)
    guard = BudgetGuard(None)
    assert fit(clock, guard, epochs=3).global_step == 3 * NUM_BATCHES
    assert guard.state_dict() == {}


def test_resumed_run_has_the_time_that_was_left(run_clock: Any, tmp_path: Path) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 3 * NUM_BATCHES + 5:
                raise KeyboardInterrupt

    clock, last = run_clock(1.0), LastCheckpoint(dirpath=str(tmp_path))
    with pytest.raises(SystemExit):
        fit(clock, BudgetGuard(make_plan(clock, 200.0, epoch_seconds=25.0)), epochs=8, callbacks=[Stop(), last])
    used = 3 * (NUM_BATCHES + VAL_SECONDS)  # up to the last checkpoint

    resumed = run_clock(1.0)
    fit(
        resumed,
        BudgetGuard(None),
        epochs=8,
        ckpt_path=tmp_path / "last.ckpt",
        callbacks=[LastCheckpoint(dirpath=str(tmp_path))],
    )
    assert 190 <= used + resumed.now - 1000 <= 203


def test_resumed_run_with_another_number_of_epochs_has_no_budget(run_clock: Any, tmp_path: Path) -> None:
    clock = run_clock(1.0)
    last = LastCheckpoint(dirpath=str(tmp_path))
    plan = make_plan(clock, 55.0, epoch_seconds=25.0)
    trainer = fit(clock, BudgetGuard(plan), epochs=2, callbacks=[last])
    assert trainer.global_step <= 2 * NUM_BATCHES + 5
    longer = fit(
        run_clock(1.0),
        BudgetGuard(None),
        epochs=5,
        ckpt_path=tmp_path / "last.ckpt",
        callbacks=[LastCheckpoint(dirpath=str(tmp_path))],
    )
    assert longer.global_step >= trainer.global_step


def test_report_of_a_slow_machine_gets_more_time(run_clock: Any) -> None:
    plan = BudgetPlan(run_clock(1.0).now + 200.0, 40.0, 25.0, 10)
    assert plan.training_seconds(20.0) == 160.0
    assert plan.training_seconds(50.0) == 120.0
    assert plan.fit_epochs() == pytest.approx(6.4)


def test_costs_of_epochs_follow_the_image_size_and_frozen_layers() -> None:
    costs = EpochCosts(sizes=(64, 128), freeze=0.25, frozen_cost=0.4)
    assert costs.cost(0, 4) == pytest.approx(0.4 * (64**2 + 60**2) / (128**2 + 60**2))
    assert costs.cost(1, 4) == pytest.approx((64**2 + 60**2) / (128**2 + 60**2))
    assert costs.cost(3, 4) == 1
    assert costs.total(3.5, 4) == pytest.approx(0.5)


def test_number_of_epochs_that_fit_may_be_a_fraction() -> None:
    costs = EpochCosts()
    assert costs.fit(100.0, 40.0, max_epochs=10) == pytest.approx(2.5)
    assert costs.fit(100.0, 40.0, max_epochs=2) == 2
    assert costs.fit(100.0, 40.0, max_epochs=10, position=1.5) == pytest.approx(4.0)
    assert costs.fit(0.0, 40.0, max_epochs=10, position=1.5) == pytest.approx(1.5)
