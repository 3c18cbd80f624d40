"""Loading and smoke test of the served bundle."""

import json
import shutil
from pathlib import Path

import pytest

from cnn_classifier.cli.main import main
from cnn_classifier.errors import CheckpointError, install_command
from cnn_classifier.serve.bundle import load_bundle


@pytest.fixture
def bundle_copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_load_bundle_returns_predictor_and_sha256(bundle: Path) -> None:
    predictor, sha256 = load_bundle(bundle)
    assert predictor.class_names == ["birds", "cats", "dogs"]
    assert len(sha256) == 64


def test_serving_a_checkpoint_exits_4_and_suggests_export(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(trained)]) == 4
    assert capsys.readouterr().err == (
        f"error: {trained} is not an ONNX bundle. Export one with `cnn-classifier export {trained} --out bundle` "
        "and serve it.\n"
    )


def test_missing_path_exits_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path / "none")]) == 4
    assert "none does not exist. Expected a directory written by `cnn-classifier export`." in capsys.readouterr().err


def test_damaged_graph_raises_checkpoint_error(bundle_copy: Path) -> None:
    graph = bundle_copy / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"Cannot load .*model\.onnx: "):
        load_bundle(bundle_copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ["birds", "cats"]}, "does not return probabilities of the 2 classes in model.json"),
        ({"preprocess": {"image_size": 9}}, "does not accept the input described in model.json"),
        ({"format": 99}, "is of a newer version of cnn_classifier"),
    ],
)
def test_metadata_that_does_not_match_graph_raises_checkpoint_error(
    bundle_copy: Path, change: dict[str, object], message: str
) -> None:
    metadata = json.loads((bundle_copy / "model.json").read_text())
    for name, value in change.items():
        metadata[name] = metadata[name] | value if isinstance(value, dict) else value
    (bundle_copy / "model.json").write_text(json.dumps(metadata))
    with pytest.raises(CheckpointError) as error_info:
        load_bundle(bundle_copy)
    assert message in str(error_info.value)


def test_missing_package_exits_2_and_names_the_extra(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cnn_classifier.cli.serve.find_spec", lambda name: None)
    assert main(["serve", str(bundle)]) == 2
    assert capsys.readouterr().err == (
        f"error: serve requires packages that are not installed: {install_command('serve')}\n"
    )
