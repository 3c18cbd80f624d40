"""The `doctor` command: checks, verdicts and hints."""

import json
from pathlib import Path

import pytest

from cnn_classifier.cli import doctor_checks
from cnn_classifier.cli.main import main


def read_results(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """Parse the output of `doctor --json`; keys are the subjects."""
    return {result["subject"]: result for result in json.loads(capsys.readouterr().out)}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_doctor_on_working_machine_reports_nothing_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    for subject in ("Python", "packages", "extras", "CPU", "accelerator", "precision", "cache", "outputs"):
        assert f"  {subject} " in output
    assert "WRONG" not in output
    assert not list(tmp_path.iterdir())


def test_unwritable_cache_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "file"))
    assert main(["doctor", "--json"]) == 2
    result = read_results(capsys)["cache"]
    assert (result["verdict"], result["hint"]) == ("wrong", "set CNN_CLASSIFIER_HOME to a folder on a larger disk")
    assert "Cannot create " in result["detail"]


def test_nearly_full_disk_is_a_note(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "MIN_FREE_GIB", 1e9)
    assert main(["doctor", "--json"]) == 0
    assert read_results(capsys)["outputs"]["verdict"] == "note"


@pytest.mark.parametrize(
    ("package", "version", "subject", "detail"),
    [
        ("lightning", "2.6.2", "lightning", "2.6.2, a compromised release with malware"),
        ("pillow", "9.0", "pillow", "9.0"),
        ("torchmetrics", "", "torchmetrics", "not installed"),
    ],
)
def test_unsupported_package_version_is_wrong(
    package: str,
    version: str,
    subject: str,
    detail: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    get_version = doctor_checks.get_version
    monkeypatch.setattr(doctor_checks, "get_version", lambda name: version if name == package else get_version(name))
    assert main(["doctor", "--json"]) == 2
    result = read_results(capsys)[subject]
    assert (result["verdict"], result["detail"]) == ("wrong", detail)
    assert "pip install" in result["hint"]


def test_more_threads_than_cores_is_a_note(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 4096)
    assert main(["doctor", "--json"]) == 0
    assert "set OMP_NUM_THREADS=" in read_results(capsys)["CPU"]["hint"]
