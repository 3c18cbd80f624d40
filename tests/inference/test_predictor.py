"""A checkpoint single answers for files and arrays, and one that cannot be trusted does nothing at all."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.classifiers import HPARAMS, MaliciousPickle, make_classifier, save_checkpoint

from cnn_classifier.data.sources.listing import expand_image_paths
from cnn_classifier.errors import CheckpointError, ConfigError, DataError
from cnn_classifier.inference.backends.pytorch import PyTorchBackend
from cnn_classifier.inference.metadata import ModelMetadata
from cnn_classifier.inference.prediction import Prediction
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.training.checkpoints import add_calibration
from cnn_classifier.training.module import ImageClassifier


def make_predictor(module: ImageClassifier, *, batch_size: int = 32, **calibration: Any) -> Predictor:
    """Make a predictor of a module that was not saved."""
    metadata = ModelMetadata(class_names=module.class_names, preprocess=module.preprocess, **calibration)
    return Predictor(PyTorchBackend(module, metadata, device="cpu"), metadata, batch_size=batch_size)


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor.load(save_checkpoint(tmp_path / "best.ckpt", make_classifier()), device="cpu")


@pytest.fixture
def files(make_folder: Callable[..., Path]) -> list[Path]:
    return sorted(make_folder({"birds": 2, "cats": 2, "dogs": 2}).rglob("*.png"))


def probabilities(predictions: list[Prediction]) -> list[float | None]:
    return [prediction.probability for prediction in predictions]


def test_checkpoint_predicts_like_its_module(predictor: Predictor, files: list[Path]) -> None:
    module = make_predictor(make_classifier())
    assert probabilities(predictor.predict(files)) == pytest.approx(probabilities(module.predict(files)))
    assert predictor.class_names == ["birds", "cats", "dogs"]
    assert not predictor.backend.classifier.training


def test_paths_strings_and_arrays_of_one_image_give_the_same_probability(
    predictor: Predictor, files: list[Path]
) -> None:
    pixels = predictor.preprocess.load(files[0])
    from_path, from_word, from_array = predictor.predict([files[0], str(files[0]), pixels])
    assert from_path.probability == pytest.approx(from_word.probability) == pytest.approx(from_array.probability)
    assert (from_path.path, from_word.path, from_array.path) == (str(files[0]), str(files[0]), None)
    assert [predictor.predict(files[0])] == predictor.predict([files[0]])


def test_top_k_is_sorted_and_sums_to_one(predictor: Predictor, files: list[Path]) -> None:
    answer = predictor.predict(files[0])
    scores = [p for _, p in answer.top_k]
    assert sorted(name for name, _ in answer.top_k) == ["birds", "cats", "dogs"]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)
    assert (answer.label, answer.probability) == answer.top_k[0]
    assert predictor.predict(files[0], top_k=2).top_k == answer.top_k[:2]


def test_threshold_sets_only_the_rejection(files: list[Path]) -> None:
    strict = make_predictor(make_classifier(class_names=["cats", "unknown", "rejected"]), threshold=0.99)
    rejected, accepted = strict.predict(files[0]), strict.predict(files[0], threshold=0.0)
    assert (accepted.label, accepted.rejected, accepted.rejection_reason) == (accepted.top_k[0][0], False, None)
    assert rejected == replace(accepted, rejected=True, rejection_reason="low_confidence")
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=rf"^threshold={threshold} is out of range: expected 0 to 1$"):
            strict.predict(files[0], threshold=threshold)


def test_calibration_is_read_from_the_checkpoint_and_scales_the_logits(
    tmp_path: Path, predictor: Predictor, files: list[Path]
) -> None:
    path = tmp_path / "best.ckpt"
    add_calibration(path, {"temperature": 2.0, "threshold": 0.4})
    calibrated = Predictor.load(path, device="cpu")
    before, after = (dict(one.predict(files[0], threshold=0.0).top_k) for one in (predictor, calibrated))
    scores = np.sqrt(list(before.values()))  # logits divided by two
    assert list(after.values()) == pytest.approx(scores / scores.sum())
    assert (calibrated.metadata.temperature, calibrated.metadata.threshold) == (2.0, 0.4)
    assert [file.name for file in tmp_path.iterdir() if "ckpt" in file.name] == ["best.ckpt"]


def test_flip_averages_with_the_mirrored_image(predictor: Predictor, files: list[Path]) -> None:
    pixels = predictor.preprocess.load(files[0])
    original, mirrored = (predictor.predict_proba(view[np.newaxis].copy()) for view in (pixels, pixels[:, ::-1]))
    (averaged,) = predictor.predict_iter([pixels], flip=True)
    assert averaged.probability == pytest.approx(((original + mirrored) / 2).max())


def test_unreadable_images_have_an_error_and_do_not_shift_the_others(files: list[Path], tmp_path: Path) -> None:
    predictor = make_predictor(make_classifier(), batch_size=2)
    broken, no_image = tmp_path / "broken.jpg", np.zeros((8, 8, 2), np.uint8)
    broken.write_text("not found", encoding="utf-8")
    answers = predictor.predict([broken, broken, broken, files[0], files[2], no_image, files[4]])
    assert [answer.path for answer in answers[:5]] == list(map(str, [broken, broken, broken, files[0], files[2]]))
    assert answers[0] == Prediction(str(broken), error="not an image: it starts like text, 'not found'")
    assert [answer.error is not None for answer in answers] == [True, True, True, False, False, True, False]
    single = [predictor.predict(file).probability for file in (files[0], files[2], files[4])]
    assert probabilities([answers[3], answers[4], answers[6]]) == pytest.approx(single)
    assert len(set(single)) == 3


def test_iterator_is_consumed_one_batch_at_a_time(files: list[Path]) -> None:
    requested: list[Path] = []

    def camera() -> Iterator[Path]:
        while True:
            requested.append(files[0])
            yield files[0]

    next(make_predictor(make_classifier(), batch_size=2).predict_iter(camera()))
    assert len(requested) == 2


def test_image_paths_expand_files_folders_and_patterns(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = files[0].parent.parent
    (root / "cats" / "notes.txt").write_text("no image", encoding="utf-8")
    assert expand_image_paths([str(root)]) == files
    assert expand_image_paths([str(root / "cats" / "*.png"), str(files[0])]) == [files[2], files[3], files[0]]
    assert expand_image_paths([str(root / "**" / "001.png")]) == files[1::2]
    monkeypatch.chdir(root)
    assert expand_image_paths(["cats/*1.png"]) == [Path("cats", "001.png")]
    odd = files[0].rename(files[0].with_name("photo[1].png"))  # a file named like a pattern is that file
    assert expand_image_paths([str(odd)]) == [odd]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none.png", "does not exist and matches nothing"),
        ("*.jpg", "does not exist and matches nothing"),
        ("", "contains no images"),
    ],
)
def test_pattern_without_images_raises_data_error(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        expand_image_paths([str(tmp_path / pattern)])
    assert str(error.value) == f"{tmp_path / pattern} {message}. Pass an image, a folder of images or a pattern."


def test_malicious_pickle_is_not_executed(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = save_checkpoint(tmp_path / "evil.ckpt", make_classifier(), callbacks=MaliciousPickle(sentinel))
    with pytest.raises(CheckpointError, match=r"Cannot load .*evil\.ckpt: it contains a pickled global \(\S+\)"):
        Predictor.load(path)
    assert not sentinel.exists()
    torch.load(path, weights_only=False)
    assert sentinel.exists()  # as it would have


def test_function_named_as_network_is_not_called(tmp_path: Path) -> None:
    settings = dict(make_classifier().hparams) | {"model": {"_target_": "os.mkdir", "path": str(tmp_path / "sentinel")}}
    path = save_checkpoint(tmp_path / "evil.ckpt", make_classifier(), hyper_parameters=settings)
    with pytest.raises(CheckpointError, match=r"ckpt: .* names os\.mkdir, .* if you trust it, pass --trust"):
        Predictor.load(path)
    assert not (tmp_path / "sentinel").exists()


def test_foreign_network_loads_only_if_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_for_this_test.py").write_text(
        "from torch import nn\n"
        "class Tiny(nn.Sequential):\n"
        "    def __init__(self, *, num_classes: int, channels: int, image_size: int) -> None:\n"
        "        super().__init__(nn.Flatten(), nn.Linear(channels * image_size**2, num_classes))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = save_checkpoint(tmp_path / "mine.ckpt", make_classifier(model={"_target_": "mine_for_this_test.Tiny"}))
    with pytest.raises(CheckpointError, match=r"ckpt: .* names mine_for_this_test\.Tiny, which is not part of"):
        Predictor.load(path)
    predictor = Predictor.load(path, device="cpu", trusted=["mine_for_this_test."])
    assert predictor.predict(np.zeros((8, 8), np.uint8)).label in HPARAMS["class_names"]


def test_files_that_are_not_checkpoints_raise_checkpoint_error(tmp_path: Path) -> None:
    whole = save_checkpoint(tmp_path / "whole.ckpt", make_classifier()).read_bytes()
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    for name, content in {"text": b"hello", "empty": b"", "half": whole[: len(whole) // 2]}.items():
        (tmp_path / f"{name}.ckpt").write_bytes(content)
    damaged = r"\.ckpt: it is damaged or not a checkpoint\. Only checkpoints of an ImageClassifier are supported\.$"
    messages = {
        "none": r"none\.ckpt does not exist; expected a run folder or a checkpoint such as outputs/",
        "text": "text" + damaged,
        "empty": "empty" + damaged,
        "half": "half" + damaged,
        "foreign": r"foreign\.ckpt was not written by cnn_classifier; train one with `python train\.py`$",
    }
    for name, message in messages.items():
        with pytest.raises(CheckpointError, match=message):
            Predictor.load(tmp_path / f"{name}.ckpt")


def test_checkpoint_of_a_newer_format_or_other_network_raises_checkpoint_error(tmp_path: Path) -> None:
    newer = save_checkpoint(tmp_path / "newer.ckpt", make_classifier(), cnn_classifier={"format": 99, "version": "9.9"})
    with pytest.raises(CheckpointError, match=r"newer\.ckpt was written by cnn_classifier 9\.9; upgrade to read it$"):
        Predictor.load(newer)
    wider = make_classifier(model=HPARAMS["model"] | {"hidden_dim": 5}).state_dict()
    with pytest.raises(CheckpointError, match=r"other\.ckpt: its weights do not match its network"):
        Predictor.load(save_checkpoint(tmp_path / "other.ckpt", make_classifier(), state_dict=wider))
