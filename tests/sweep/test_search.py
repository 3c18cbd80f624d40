"""Optuna chooses, jobs try: hopeless trials stop early, and a search goes on after whatever ended it."""

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

from cnn_classifier.cli.main import main
from cnn_classifier.errors import ConfigError
from cnn_classifier.sweep.search import OptunaSearch
from cnn_classifier.sweep.search_space import SearchSpace
from cnn_classifier.sweep.study import open_storage
from cnn_classifier.training.status import Status, read_status


@pytest.fixture
def words(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A search for a learning rate on a dozen photos, in an empty folder."""
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep"]
    return ["train", "-m", *search, *TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=1"]


def study() -> optuna.Study:
    return optuna.load_study(study_name="sweep", storage=open_storage("sweep/study.log"))


def states(found: optuna.Study) -> list[str]:
    return [trial.state.name for trial in found.trials]


def test_a_search_tries_values_and_ranks_them(words: list[str]) -> None:
    assert main([*words, "optimizer.lr=tag(log,interval(0.001,0.1))"]) == 0

    tried = study().trials
    assert [trial.state.name for trial in tried] == ["COMPLETE", "COMPLETE"]
    assert all(0.001 <= trial.params["optimizer.lr"] <= 0.1 for trial in tried)
    assert tried[0].value == read_status(Path("sweep/0")).val_accuracy
    assert Path("sweep/best.ckpt").is_file()


def test_what_mattered_is_drawn(tmp_path: Path) -> None:
    search = OptunaSearch(tmp_path, ["optimizer.lr=interval(0.0,1.0)", "seed=1,2"])

    def launch(words: list[list[str]], number: int) -> list[float]:
        rate = float(words[0][0].removeprefix("optimizer.lr="))
        return [1 - (rate - 0.4) ** 2]

    search.run(launch, n_trials=12, timeout=None, n_jobs=1)

    found = json.loads((tmp_path / "importance.json").read_text())
    assert found["optimizer.lr"] > 2 * found["seed"]
    Status(run_dir=tmp_path / "0", state="done", val_accuracy=0.9, val_loss=0.3, overrides=["seed=1"]).write()
    search.leaderboard.write()
    assert "What mattered" in (tmp_path / "leaderboard.html").read_text(encoding="utf-8")


def test_the_default_comes_first_and_the_others_are_chosen(tmp_path: Path) -> None:
    space = ["optimizer.lr=interval(0.1,1.0)", "seed=1"]
    tried: list[list[str]] = []

    def launch(words: list[list[str]], number: int) -> list[float]:
        tried.extend(words)
        if len(tried) == 1:
            raise KeyboardInterrupt
        return [float(words[0][-1].removeprefix("optimizer.lr=")) if len(words[0]) > 1 else 0.5]

    with pytest.raises(KeyboardInterrupt):
        OptunaSearch(tmp_path, space, prune=False, include_baseline=True).run(
            launch, n_trials=12, timeout=None, n_jobs=1
        )
    Status(run_dir=tmp_path / "0", state="interrupted", overrides=["seed=1"]).write()
    OptunaSearch(tmp_path, space, prune=False, include_baseline=True).run(launch, n_trials=12, timeout=None, n_jobs=1)

    assert tried[:2] == [["seed=1"], ["seed=1"]]  # it was cut off, and came first again
    assert all(words[1].startswith("optimizer.lr=") for words in tried[2:])
    assert len(tried) == 13
    assert json.loads((tmp_path / "importance.json").read_text()) == {"optimizer.lr": 1.0}


def test_a_trial_that_failed_after_good_epochs_is_no_good_trial(tmp_path: Path) -> None:
    def launch(words: list[list[str]], number: int) -> list[float]:
        Status(run_dir=tmp_path / "0", state="failed", exit_code=6, overrides=words[0], val_accuracy=0.9).write()
        return [0.9]  # of its last epoch, which is what processes of their own tell

    search = OptunaSearch(tmp_path, ["optimizer.lr=interval(0.1,1.0)"], prune=False)
    search.run(launch, n_trials=1, timeout=None, n_jobs=1)

    assert states(search.study) == ["FAIL"]


def test_a_search_goes_on_with_what_was_cut_off(words: list[str]) -> None:
    words = [*words, "optimizer.lr=interval(0.001,0.1)"]
    main(words)
    told = json.loads(Path("sweep/1/status.json").read_text())
    cut_off = study().ask({"optimizer.lr": optuna.distributions.FloatDistribution(0.001, 0.1)})
    Path("sweep/2").mkdir()
    changed = [*told["overrides"][:-1], f"optimizer.lr={cut_off.params['optimizer.lr']}"]
    Path("sweep/2/status.json").write_text(json.dumps(told | {"state": "running", "overrides": changed}))
    more = [word.replace("n_trials=2", "n_trials=3") for word in words]

    assert main([*more, "sweep.resume=sweep"]) == 0

    assert states(study()) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert study().trials[3].params == cut_off.params
    assert read_status(Path("sweep/2")).state == "done"  # in its own folder
    assert main([*more, "sweep.resume=sweep"]) == 0
    assert len(study().trials) == 4  # nothing was left to do


def test_a_trial_that_falls_behind_is_stopped_half_way(words: list[str]) -> None:
    Path("sweep").mkdir()
    before = optuna.create_study(study_name="sweep", storage=open_storage("sweep/study.log"), direction="maximize")
    for _ in range(5):
        better = before.ask({"seed": optuna.distributions.IntDistribution(1, 9)})
        for epoch in range(1, 6):
            better.report(2.0, epoch)  # than any accuracy
        before.tell(better, 2.0)
    given = [word.replace("n_trials=2", "n_trials=6").replace("epochs=1", "epochs=6") for word in words]

    assert main([*given, "seed=range(1,10)"]) == 0

    assert states(study())[-1] == "PRUNED"
    status = read_status(Path("sweep/5"))
    assert (status.state, status.exit_code, status.epoch) == ("pruned", 0, 3)
    assert "behind the median of the other trials after epoch 3" in status.message


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_one_of_two_workers_is_killed_and_no_result_is_lost(words: list[str]) -> None:
    given = [word.replace("n_trials=2", "n_trials=4") for word in words if not word.startswith("hydra.sweep.dir")]
    storage = Path.cwd() / "study.log"
    shared = [*given, f"sweep.storage={storage}", "sweep.study=ours", "optimizer.lr=interval(0.001,0.1)"]
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
        journal.write('{"op_code": 9, "worker')  # what a power cut leaves

    assert second.wait(timeout=300) == 0

    found = optuna.load_study(study_name="ours", storage=open_storage(str(storage)))
    done = [trial for trial in found.trials if trial.state.name == "COMPLETE"]
    assert len(done) >= 3
    assert sum(trial.state.name == "RUNNING" for trial in found.trials) <= 1


def test_the_words_of_hydra_are_the_space_of_a_search() -> None:
    space = SearchSpace(
        [
            "model=cnn,resnet",
            "optimizer.lr=tag(log,interval(0.001,0.1))",
            "dataset.batch_size=range(16,65,16)",
            "seed=int(interval(1,9))",
            "augment.affine.crop_area=choice([0.5,1.0],[0.7,1.0])",
            "trainer.max_epochs=3",
            "sweep.study=mine",
        ]
    )
    found = space.distributions
    assert found["model"].choices == ("cnn", "resnet")
    assert (found["optimizer.lr"].low, found["optimizer.lr"].high, found["optimizer.lr"].log) == (0.001, 0.1, True)
    assert (found["dataset.batch_size"].low, found["dataset.batch_size"].high) == (16, 64)
    assert isinstance(found["seed"], optuna.distributions.IntDistribution)
    assert found["augment.affine.crop_area"].choices == ("[0.5,1.0]", "[0.7,1.0]")
    assert space.to_overrides({"seed": 3}) == ["trainer.max_epochs=3", "seed=3"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=1"], "nothing is looked for: give a value room"),
        (["optimizer.lr=interval(0.1,0.01)"], r"optimizer.lr=interval\(0.1,0.01\):"),
    ],
)
def test_a_space_that_is_none_is_told(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        SearchSpace(words)


def test_a_sampler_or_storage_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampler=best is unknown; expected one of: tpe, random"):
        OptunaSearch(tmp_path, ["seed=1,2"], sampler="best")
    with pytest.raises(ConfigError, match=r"sweep.storage cannot be reached") as error:
        OptunaSearch(tmp_path, ["seed=1,2"], storage="sqlite:////nowhere/secret/study.db")
    assert "secret" not in str(error.value) or "sqlite://…" in str(error.value)


def test_a_quick_search_is_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "search=quick", "--cfg", "hydra", "-p", "hydra.sweeper"]) == 0
    told = capsys.readouterr().out
    assert "OptunaSweeper" in told
    assert "timeout: 30m" in told
    assert "default: true" in told
