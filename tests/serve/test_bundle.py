"""What cannot be served is refused in one line, before anybody is let in."""

import json
import shutil
from pathlib import Path

import pytest

from cnn_classifier.cli.main import main
from cnn_classifier.errors import CheckpointError
from cnn_classifier.serve.bundle import load_bundle


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_a_bundle_is_loaded_with_the_digest_of_its_graph(bundle: Path) -> None:
    predictor, sha256 = load_bundle(bundle)
    assert predictor.class_names == ["birds", "cats", "dogs"]
    assert len(sha256) == 64


def test_a_checkpoint_is_to_be_exported_first(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(trained)]) == 4
    assert capsys.readouterr().err == (
        f"error: {trained} is no ONNX bundle; make one with `cnn-classifier export {trained} --out bundle`, "
        "and serve that\n"
    )


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path / "none")]) == 4
    assert "none does not exist; expected a folder that `cnn-classifier export` wrote" in capsys.readouterr().err


def test_a_damaged_graph_is_refused(copy: Path) -> None:
    graph = copy / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"model\.onnx is no graph that can be run"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"class_names": ["birds", "cats"]}, "gives no probabilities of the classes in model.json"),
        ({"preprocess": {"image_size": 9}}, "does not take what model.json describes"),
        ({"format": 99}, "is of a newer version of cnn_classifier"),
    ],
)
def test_a_card_that_does_not_fit_its_graph_is_refused(copy: Path, change: dict[str, object], told: str) -> None:
    card = json.loads((copy / "model.json").read_text())
    for name, value in change.items():
        card[name] = card[name] | value if isinstance(value, dict) else value
    (copy / "model.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError) as raised:
        load_bundle(copy)
    assert told in str(raised.value)


def test_a_missing_package_is_named(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cnn_classifier.cli.serve.find_spec", lambda name: None)
    assert main(["serve", str(bundle)]) == 2
    assert capsys.readouterr().err == (
        "error: serve needs packages that are not installed; pip install 'cnn_classifier[serve]'\n"
    )
