"""Tests of the helpers for error messages."""

from pathlib import Path

import pytest

from cnn_classifier import errors

ROOT = Path(__file__).parents[1]


def test_install_command_of_a_checkout_is_an_editable_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert errors.install_command("onnx") == 'pip install -e ".[onnx]"'
    monkeypatch.chdir(tmp_path)
    assert errors.install_command("onnx") == f'pip install -e "{ROOT}[onnx]"'


def test_install_command_of_a_wheel_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "cnn_classifier" / "errors.py"))
    assert errors.install_command("onnx") == 'pip install "cnn_classifier[onnx]"'
