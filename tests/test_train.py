"""The main job, from a folder to a report, on pictures that a small network learns in a moment."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main

TINY = [
    "dataset=folder",
    "model=cnn",
    "augment=light",
    "callbacks=early_stopping",
    "dataset.image_size=16",
    "dataset.batch_size=8",
    "model.widths=[8,16]",
    "model.hidden_dim=16",
    "model.dropout=0",
    "optimizer.lr=0.01",
    "scheduler=constant",
    "trainer=cpu",
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder, where `outputs` will appear."""
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def photos(make_folder: MakeFolder) -> Path:
    return make_folder({"train/cats": 20, "train/dogs": 20, "test/cats": 8, "test/dogs": 8})


def train(root: Path, *words: str, epochs: int = 2, run_dir: str = "run") -> Path:
    """Train on a folder and return the run folder."""
    assert (
        main(["train", *TINY, f"dataset.root={root}", f"run_dir={run_dir}", f"trainer.max_epochs={epochs}", *words])
        == 0
    )
    return Path(run_dir)


def tiny_without(*beginnings: str) -> list[str]:
    """TINY but for the words that begin so."""
    return [word for word in TINY if not word.startswith(beginnings)]


def report_of(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "report.json").read_text())


def test_a_tiny_folder_is_learnt_to_100_percent(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = train(photos, epochs=12)

    assert report_of(run_dir)["test"]["accuracy"] == 1.0
    told = capsys.readouterr().out
    assert "train 36 · val 4 · test 16 images in 2 classes" in told
    assert "12/12" in told
    assert "test accuracy 1.0000" in told
    assert "run/checkpoints/best.ckpt" in told


def test_the_run_folder_tells_everything(photos: Path, pictures: None) -> None:
    run_dir = train(photos)

    report = report_of(run_dir)
    assert {"loss", "accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted"} <= report["test"].keys()
    assert report["class_names"] == ["cats", "dogs"]
    assert report["positive_class"]["class"] == "dogs"
    assert report["data"]["images"] == 56
    assert [row["support"] for row in report["per_class"]] == [8, 8]
    assert sum(map(sum, report["confusion_matrix"])) == 16
    assert report["splits"] == {"train": [18, 18], "val": [2, 2], "test": [8, 8]}
    assert [row["epoch"] for row in report["epochs"]] == [1, 2]
    assert {"image_size", "train/loss", "train/accuracy", "val/loss", "val/accuracy", "seconds"} <= report["epochs"][
        0
    ].keys()
    assert {"train_images_per_second", "fit_seconds", "total_seconds"} <= report["timing"].keys()
    assert report["versions"]["torch"] == torch.__version__.split("+")[0]
    assert report["checkpoint"] == "checkpoints/best.ckpt"
    written = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    assert written >= {
        "config.yaml", "environment.json", "metrics.csv", "split.csv", "predictions.csv", "confusion_matrix.csv",
        "checkpoints/last.ckpt", "figures/samples.png", "figures/learning_curves.png",
        "figures/class_distribution.png", "figures/confusion_matrix.png",
    }  # fmt: skip


def test_the_same_seed_gives_the_same_weights(photos: Path) -> None:
    weights = [
        torch.load(train(photos, run_dir=name) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("first", "second")
    ]

    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_checkpoint_is_plain_data_that_describes_itself(photos: Path) -> None:
    content = torch.load(train(photos) / "checkpoints" / "best.ckpt", weights_only=True)

    assert content["hyper_parameters"]["class_names"] == ["cats", "dogs"]
    assert content["hyper_parameters"]["preprocess"]["image_size"] == 16
    assert content["hyper_parameters"]["model"]["_target_"] == "cnn_classifier.models.cnn.CNN"
    assert not [key for key in content["state_dict"] if "_orig_mod" in key]


def test_a_checkpoint_alone_predicts_the_same_in_a_fresh_process(photos: Path, tmp_path: Path) -> None:
    run_dir = train(photos, epochs=4)
    moved = (run_dir / "checkpoints" / "best.ckpt").rename(tmp_path / "moved.ckpt")
    asked = """
import csv, json, sys
from cnn_classifier import Predictor
paths = [row["path"] for row in csv.DictReader(open(sys.argv[2]))]
answers = Predictor.load(sys.argv[1]).predict(paths, threshold=0)
print(json.dumps([[answer.label, answer.probability] for answer in answers]))
"""
    command = [sys.executable, "-c", asked, str(moved), str(run_dir / "predictions.csv")]
    fresh = subprocess.run(command, capture_output=True, text=True, check=True)

    with (run_dir / "predictions.csv").open() as file:
        expected = [(row["predicted"], float(row["probability"])) for row in csv.DictReader(file)]
    assert [(label, pytest.approx(probability, abs=1e-5)) for label, probability in expected] == [
        tuple(answer) for answer in json.loads(fresh.stdout)
    ]


def test_evaluate_repeats_the_test_of_the_training(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = train(photos)
    capsys.readouterr()

    assert main(["evaluate", str(run_dir / "checkpoints" / "best.ckpt"), str(photos), "--json", "--out", "again"]) == 0

    assert json.loads(capsys.readouterr().out)["test"] == pytest.approx(report_of(run_dir)["test"], abs=1e-6)
    assert Path("again/report.json").exists()
    assert Path("again/figures/confusion_matrix.png").exists()


def test_predict_lists_unreadable_images_and_answers_the_rest(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = train(photos, epochs=12) / "checkpoints" / "best.ckpt"
    (photos / "test" / "cats" / "broken.jpg").write_text("no picture")
    capsys.readouterr()

    asked = [str(checkpoint), str(photos / "test" / "cats"), "--top-k", "2", "--threshold", "0"]
    assert main(["predict", *asked, "--csv", "answers.csv"]) == 0

    with Path("answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows if not row["error"]] == ["cats"] * 8
    assert [row["label_1"] for row in rows if not row["error"]] == ["cats"] * 8
    assert [row["label_2"] for row in rows if not row["error"]] == ["dogs"] * 8
    assert [Path(row["path"]).name for row in rows if row["error"]] == ["broken.jpg"]
    assert [row["rejected"] for row in rows] == ["" if row["error"] else "false" for row in rows]
    errors = capsys.readouterr().err
    assert "wrote answers.csv: 9 images, 0 rejected, 1 unreadable; accepted: cats 8\nunreadable: " in errors


def test_an_unreadable_image_is_left_out_of_training_and_named(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "train" / "dogs" / "broken.jpg").write_text("no picture")
    (photos / "train" / "dogs" / "notes.txt").write_text("no picture")

    run_dir = train(photos, epochs=1)

    reason = "not an image: it starts like text, 'no picture'"
    assert report_of(run_dir)["data"]["unreadable"] == [{"path": "train/dogs/broken.jpg", "reason": reason}]
    assert report_of(run_dir)["data"]["ignored"] == {".txt": 1}
    assert "broken.jpg" not in (run_dir / "split.csv").read_text()
    told = capsys.readouterr().out.splitlines()
    assert f"Skipped 1 unreadable image (all listed in report.json), such as train/dogs/broken.jpg: {reason}" in told
    assert "Ignored files that are not images or not in a class folder: 1 .txt." in told


def test_the_report_says_what_is_in_the_data(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(photos / "train" / "cats" / "000.png", photos / "test" / "dogs" / "leak.png")

    data = report_of(train(photos, epochs=1))["data"]

    assert (data["images"], data["classes"]) == (57, {"cats": 28, "dogs": 29})
    assert data["splits"] == {"train": {"cats": 20, "dogs": 20}, "test": {"cats": 8, "dogs": 9}}
    assert (data["imbalance"], data["unreadable"], data["leaks"], data["conflicts"]) == (1.04, [], 1, 1)
    copies = {"kind": "exact", "paths": ["test/dogs/leak.png", "train/cats/000.png"]}
    assert {**copies, "classes": ["cats", "dogs"], "splits": ["test", "train"]} in data["duplicates"]
    told = capsys.readouterr().out
    assert "Images in more than one class: 1." in told
    assert "Images in more than one split folder: 1. They make the test metrics too optimistic." in told


def test_an_archive_trains_as_its_folder_does_under_names_of_ones_own(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive("photos", "gztar", photos)
    words = ["dataset.root=null", f"dataset.source={archive}", "dataset.rename_classes={cats: Katzen}"]

    report = report_of(train(photos, *words, epochs=1))

    assert report["class_names"] == ["Katzen", "dogs"]
    assert report["splits"] == {"train": [18, 18], "val": [2, 2], "test": [8, 8]}
    capsys.readouterr()
    assert main(["evaluate", "run", str(photos), "--json"]) == 0  # whose folder is still called cats
    again = json.loads(capsys.readouterr().out)
    assert again["class_names"] == ["Katzen", "dogs"]
    assert again["confusion_matrix"] == report["confusion_matrix"]


def test_a_run_can_be_given_the_split_of_another(make_folder: MakeFolder) -> None:
    photos = make_folder({"cats": 20, "dogs": 20})
    first = train(photos, "seed=1", run_dir="first")

    second = train(photos, "seed=2", f"dataset.split_file={first / 'split.csv'}", run_dir="second")

    assert (first / "split.csv").read_text() == (second / "split.csv").read_text()


def test_resume_goes_on_in_the_same_folder_and_keeps_every_epoch(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted = train(photos, epochs=2, run_dir="runs/first")
    (interrupted / "report.json").unlink()  # as if it had been killed

    train(photos, "resume=auto", epochs=3, run_dir="runs/second")

    assert not Path("runs/second").exists()
    assert [row["epoch"] for row in report_of(interrupted)["epochs"]] == [1, 2, 3]
    assert len((interrupted / "metrics.csv").read_text().splitlines()) == 4
    assert "resuming from" in capsys.readouterr().out


def test_resume_auto_starts_afresh_where_nothing_was_saved(photos: Path) -> None:
    assert [row["epoch"] for row in report_of(train(photos, "resume=auto"))["epochs"]] == [1, 2]


def test_a_checkpoint_for_other_classes_is_not_resumed(
    photos: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    train(photos, run_dir="cats_dogs")
    birds = make_folder({"birds": 20, "cats": 20}, name="birds")

    words = ["train", *TINY, f"dataset.root={birds}", "run_dir=birds"]
    assert main([*words, "resume=cats_dogs"]) == 3
    assert (
        "has the classes birds, cats, but the run started with cats, dogs; start a new run" in capsys.readouterr().err
    )

    Path("cats_dogs/checkpoints/last.ckpt").rename("loose.ckpt")
    assert main([*words, "resume=loose.ckpt"]) == 4
    assert "the checkpoint has class_names ['cats', 'dogs'], this run has ['birds', 'cats']" in capsys.readouterr().err
    assert not Path("birds").exists()


@pytest.mark.parametrize("word", ["seed=7", "optimizer.lr=0.02", "dataset.val_fraction=0.2"])
def test_resume_auto_does_not_take_over_another_run(photos: Path, word: str) -> None:
    (train(photos, run_dir="runs/first", epochs=1) / "report.json").unlink()

    assert report_of(train(photos, "resume=auto", word, run_dir="runs/second", epochs=1))["epochs"][0]["epoch"] == 1


def test_a_loose_checkpoint_is_resumed_into_the_folder_of_the_new_run(photos: Path) -> None:
    (train(photos, run_dir="first", epochs=1) / "checkpoints" / "last.ckpt").rename("loose.ckpt")

    assert len(report_of(train(photos, "resume=loose.ckpt", run_dir="second"))["epochs"]) == 2


def test_a_diverged_training_exits_with_6_and_says_where(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"dataset.root={photos}", "run_dir=run", "trainer.max_epochs=2", "optimizer=sgd", "optimizer.lr=1e30"]

    assert main(["train", *tiny_without("optimizer"), *words]) == 6

    told = capsys.readouterr().err
    assert "Loss is NaN or infinite at step 2 (epoch 1, batch 2; images listed in " in told
    assert "run/diverged.json). Weights were not updated. Lower optimizer.lr" in told
    assert len(json.loads(Path("run/diverged.json").read_text())["images"]) == 7  # of 36 in five batches


def test_metrics_of_epochs_without_validation_leave_its_columns_empty(photos: Path) -> None:
    words = ["trainer.check_val_every_n_epoch=2", "callbacks.early_stopping=null"]

    with (train(photos, *words, epochs=2) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert [bool(row["val/loss"]) for row in rows] == [False, True]
    assert all(float(row["learning_rate"]) == 0.01 for row in rows)


def test_runs_with_other_seeds_share_the_decoded_images(photos: Path) -> None:
    packed = Path(os.environ["CNN_CLASSIFIER_HOME"], "packed")
    train(photos, "seed=1", run_dir="first")
    known = set(packed.iterdir())

    train(photos, "seed=2", run_dir="second")

    assert set(packed.iterdir()) == known


def test_a_sweep_runs_every_combination_and_survives_a_failing_one(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        "-m",
        *tiny_without("model=", "model.hidden_dim", "model.dropout"),
        "trainer.max_epochs=1",
        "model=baseline,cnn",
    ]
    words += [f"dataset.root={photos}"]

    assert main([*words, "dataset.image_size=2,16", "hydra.sweep.dir=sweep"]) == 2  # 2 pixels are too few

    told = capsys.readouterr()
    assert told.err.count("is too small for the network") == 2
    with Path("sweep/leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"].split(":")[0] for row in rows] == ["done", "done", "failed", "failed"]
    assert float(rows[0]["val_accuracy"]) >= float(rows[1]["val_accuracy"])
    assert sorted(path.parent.name for path in Path("sweep").glob("*/checkpoints")) == ["2", "3"]  # of image_size=16
    assert "model=cnn" in told.out


@pytest.mark.parametrize(
    "words",
    [
        ["model=baseline", "augment=strong", "optimizer=sgd", "scheduler=plateau"],
        ["optimizer=adam", "scheduler=cosine", "loss.label_smoothing=0.1", "loss.class_weights=balanced"],
        ["dataset.channels=1", "dataset.resize=pad", "dataset.cache=none", "augment=none"],
        ["trainer.gradient_clip_val=1.0", "trainer.accumulate_grad_batches=2", "scheduler.warmup_epochs=1.0"],
        ["dataset.folds=4", "dataset.fold=1", "logger=tensorboard", "trainer.precision=bf16-mixed"],
        ["logger=csv", "callbacks.best=null", "callbacks.early_stopping=null", "dataset.max_per_class=10"],
        *(["trainer.gradient_clip_val=1.0", f"trainer.precision={name}"] for name in ("32-true", "bf16-mixed")),
        ["trainer.precision=64-true", "callbacks=default"],
        ["trainer.precision=bf16-true", "callbacks=default"],
        ["dataset.sampler=balanced", "dataset.cache=ram", "dataset.mean=[0.5]", "dataset.std=[0.25]"],
        ["+augment.blur._target_=torchvision.transforms.v2.GaussianBlur", "+augment.blur.kernel_size=3"],
    ],
    ids=" ".join,
)
def test_every_choice_trains_to_a_report(photos: Path, words: list[str]) -> None:
    groups = [
        f"{group}=" for group in ("model", "augment", "scheduler") if any(w.startswith(f"{group}=") for w in words)
    ]
    tiny = tiny_without(*groups, *(["model.dropout"] if "model=baseline" in words else []))

    assert main(["train", *tiny, f"dataset.root={photos}", "run_dir=run", "trainer.max_epochs=1", *words]) == 0

    assert 0 <= report_of(Path("run"))["test"]["accuracy"] <= 1
