"""Tests of hyperparameter searches with Optuna: sampling, pruning and resuming."""

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from helpers.folders import TINY, MakeFolder
from omegaconf import OmegaConf

from cnn_classifier.cli.main import main
from cnn_classifier.errors import ConfigError, install_command
from cnn_classifier.sweep.search import OptunaSearch
from cnn_classifier.sweep.study import open_storage
from cnn_classifier.training.status import Status, read_status
from hydra_plugins.cnn_classifier_optuna import OptunaSweeper


@pytest.fixture
def argv(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of a search with two trials, in an empty working directory."""
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep"]
    return ["train", "-m", *search, *TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=1"]


def load_study() -> optuna.Study:
    return optuna.load_study(study_name="sweep", storage=open_storage("sweep/study.log"))


def trial_states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_search_samples_values_and_ranks_trials(argv: list[str]) -> None:
    assert main([*argv, "optimizer.lr=tag(log,interval(0.001,0.1))"]) == 0

    trials = load_study().trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"]
    assert all(0.001 <= trial.params["optimizer.lr"] <= 0.1 for trial in trials)
    assert trials[0].value == read_status(Path("sweep/0")).val_accuracy
    assert Path("sweep/best.ckpt").is_file()


def test_parameter_importance_is_written_and_shown(tmp_path: Path) -> None:
    search = OptunaSearch(tmp_path, ["optimizer.lr=interval(0.0,1.0)", "seed=1,2"])

    def launch(job_overrides: list[list[str]], first: int) -> list[float]:
        lr = float(job_overrides[0][0].removeprefix("optimizer.lr="))
        return [1 - (lr - 0.4) ** 2]

    search.run(launch, n_trials=12, timeout=None, n_jobs=1)

    importance = json.loads((tmp_path / "importance.json").read_text())
    assert importance["optimizer.lr"] > 2 * importance["seed"]
    Status(run_dir=tmp_path / "0", state="done", val_accuracy=0.9, val_loss=0.3, overrides=["seed=1"]).write()
    search.leaderboard.write()
    assert "Hyperparameter importance" in (tmp_path / "leaderboard.html").read_text(encoding="utf-8")


def test_baseline_trial_runs_first_also_after_an_interruption(tmp_path: Path) -> None:
    space = ["optimizer.lr=interval(0.1,1.0)", "seed=1"]
    launched: list[list[str]] = []

    def launch(job_overrides: list[list[str]], first: int) -> list[float]:
        launched.extend(job_overrides)
        if len(launched) == 1:
            raise KeyboardInterrupt
        return [float(job_overrides[0][-1].removeprefix("optimizer.lr=")) if len(job_overrides[0]) > 1 else 0.5]

    with pytest.raises(KeyboardInterrupt):
        OptunaSearch(tmp_path, space, prune=False, include_baseline=True).run(
            launch, n_trials=12, timeout=None, n_jobs=1
        )
    Status(run_dir=tmp_path / "0", state="interrupted", overrides=["seed=1"]).write()
    OptunaSearch(tmp_path, space, prune=False, include_baseline=True).run(launch, n_trials=12, timeout=None, n_jobs=1)

    assert launched[:2] == [["seed=1"], ["seed=1"]]  # interrupted, then requeued
    assert all(overrides[1].startswith("optimizer.lr=") for overrides in launched[2:])
    assert len(launched) == 13
    assert json.loads((tmp_path / "importance.json").read_text()) == {"optimizer.lr": 1.0}


def test_failed_trial_does_not_count_its_last_accuracy(tmp_path: Path) -> None:
    def launch(job_overrides: list[list[str]], first: int) -> list[float]:
        Status(
            run_dir=tmp_path / "0", state="failed", exit_code=6, overrides=job_overrides[0], val_accuracy=0.9
        ).write()
        return [0.9]  # the accuracy of the last epoch, as a job in its own process reports it

    search = OptunaSearch(tmp_path, ["optimizer.lr=interval(0.1,1.0)"], prune=False)
    search.run(launch, n_trials=1, timeout=None, n_jobs=1)

    assert trial_states(search.study) == ["FAIL"]


def test_resumed_search_requeues_interrupted_trials(argv: list[str]) -> None:
    argv = [*argv, "optimizer.lr=interval(0.001,0.1)"]
    main(argv)
    status = json.loads(Path("sweep/1/status.json").read_text())
    interrupted = load_study().ask({"optimizer.lr": optuna.distributions.FloatDistribution(0.001, 0.1)})
    Path("sweep/2").mkdir()
    overrides = [*status["overrides"][:-1], f"optimizer.lr={interrupted.params['optimizer.lr']}"]
    Path("sweep/2/status.json").write_text(json.dumps(status | {"state": "running", "overrides": overrides}))
    extended = [argument.replace("n_trials=2", "n_trials=3") for argument in argv]

    assert main([*extended, "sweep.resume=sweep"]) == 0

    assert trial_states(load_study()) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert load_study().trials[3].params == interrupted.params
    assert read_status(Path("sweep/2")).state == "done"  # resumed in the same directory
    assert main([*extended, "sweep.resume=sweep"]) == 0
    assert len(load_study().trials) == 4  # no trial was left


def test_trial_below_the_median_is_pruned_in_its_second_half(argv: list[str]) -> None:
    Path("sweep").mkdir()
    study = optuna.create_study(study_name="sweep", storage=open_storage("sweep/study.log"), direction="maximize")
    for _ in range(5):
        better_trial = study.ask({"seed": optuna.distributions.IntDistribution(1, 9)})
        for epoch in range(1, 6):
            better_trial.report(2.0, epoch)  # higher than any accuracy
        study.tell(better_trial, 2.0)
    argv = [argument.replace("n_trials=2", "n_trials=6").replace("epochs=1", "epochs=6") for argument in argv]

    assert main([*argv, "seed=range(1,10)"]) == 0

    assert trial_states(load_study())[-1] == "PRUNED"
    status = read_status(Path("sweep/5"))
    assert (status.state, status.exit_code, status.epoch) == ("pruned", 0, 3)
    assert "below the median of the other trials after epoch 3" in status.message


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_process_does_not_corrupt_a_shared_study(argv: list[str]) -> None:
    argv = [
        argument.replace("n_trials=2", "n_trials=4") for argument in argv if not argument.startswith("hydra.sweep.dir")
    ]
    storage = Path.cwd() / "study.log"
    shared = [*argv, f"sweep.storage={storage}", "sweep.study=shared", "optimizer.lr=interval(0.001,0.1)"]
    command = [sys.executable, "-m", "cnn_classifier", *shared]
    first, second = (
        subprocess.Popen([*command, f"hydra.sweep.dir={name}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("first", "second")
    )
    while not list(Path("first").glob("*/status.json")):
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with storage.open("a") as journal:
        journal.write('{"op_code": 9, "worker')  # a partial line, as a killed process leaves it

    assert second.wait(timeout=300) == 0

    study = optuna.load_study(study_name="shared", storage=open_storage(str(storage)))
    completed = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert len(completed) >= 3
    assert sum(trial.state.name == "RUNNING" for trial in study.trials) <= 1


def test_invalid_sampler_or_storage_raises_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampler=best is unknown: expected one of tpe, random"):
        OptunaSearch(tmp_path, ["seed=1,2"], sampler="best")
    with pytest.raises(ConfigError, match=r"Cannot open sweep.storage") as error:
        OptunaSearch(tmp_path, ["seed=1,2"], storage="sqlite:////nowhere/secret/study.db")
    assert "secret" not in str(error.value) or "sqlite://…" in str(error.value)


def test_missing_optuna_error_names_the_extra(argv: list[str]) -> None:
    program = (
        f"import sys; sys.modules['optuna'] = None; from cnn_classifier.cli.main import main; sys.exit(main({argv}))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert install_command("tune") in result.stderr


def test_quick_search_config_matches_the_sweeper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "search=quick", "--cfg", "hydra", "-p", "hydra.sweeper"]) == 0
    values = OmegaConf.create(capsys.readouterr().out)
    assert str(values.pop("_target_")).endswith("OptunaSweeper")
    assert set(values) == set(inspect.signature(OptunaSweeper).parameters)
    assert values.timeout == "30m"
    assert values.include_baseline
