"""The doctor says what is there, what is wrong with it, and what to do."""

import json
from pathlib import Path

import pytest

from cnn_classifier.cli import doctor_checks as doctor
from cnn_classifier.cli.main import main


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    return {finding["subject"]: finding for finding in json.loads(capsys.readouterr().out)}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_machine_that_passes_these_tests_is_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for subject in ("Python", "packages", "extras", "processor", "accelerator", "precision", "cache", "outputs"):
        assert f"  {subject} " in told
    assert "WRONG" not in told
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "file"))
    assert main(["doctor", "--json"]) == 2
    found = findings(capsys)["cache"]
    assert (found["verdict"], found["fix"]) == ("wrong", "set CNN_CLASSIFIER_HOME to a folder on a larger disk")
    assert "Cannot create " in found["found"]


def test_a_disk_that_is_nearly_full_is_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "MIN_FREE_GIB", 1e9)
    assert main(["doctor", "--json"]) == 0
    assert findings(capsys)["outputs"]["verdict"] == "note"


@pytest.mark.parametrize(
    ("package", "release", "subject", "told"),
    [
        ("lightning", "2.6.2", "lightning", "2.6.2, which is malware"),
        ("pillow", "9.0", "pillow", "9.0"),
        ("torchmetrics", "", "torchmetrics", "not installed"),
    ],
)
def test_packages_that_do_not_fit_are_wrong(
    package: str,
    release: str,
    subject: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = doctor.get_version
    monkeypatch.setattr(doctor, "get_version", lambda name: release if name == package else real(name))
    assert main(["doctor", "--json"]) == 2
    found = findings(capsys)[subject]
    assert (found["verdict"], found["found"]) == ("wrong", told)
    assert "pip install" in found["fix"]


def test_more_threads_than_cores_are_noted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 4096)
    assert main(["doctor", "--json"]) == 0
    assert "set OMP_NUM_THREADS=" in findings(capsys)["processor"]["fix"]
