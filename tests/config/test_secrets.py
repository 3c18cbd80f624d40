"""Redaction of passwords and keys."""

from pathlib import Path

import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.config.secrets import redact, redact_overrides


def test_redact_masks_secret_keys_and_url_passwords() -> None:
    assert redact({"api_key": "abc", "key": "k", "tokens": ["a"], "password": None, "depth": {"Secret": 7}}) == {
        "api_key": "***", "key": "k", "tokens": ["***"], "password": None, "depth": {"Secret": "***"}
    }  # fmt: skip
    assert redact({"aws_secret_access_key": "abc", "overrides": ["lr=1", "api_key=abc", "api_key="]}) == {
        "aws_secret_access_key": "***", "overrides": ["lr=1", "api_key=***", "api_key="]
    }  # fmt: skip
    assert redact("postgresql://me:pass@word@host/trials") == "postgresql://me:***@host/trials"
    assert redact("https://host/path@2x") == "https://host/path@2x"
    assert redact_overrides(["train", "logger.api_key=abc", "seed=1", "sweep.storage=postgresql://me:pw@host/db"]) == [
        "train", "logger.api_key=***", "seed=1", "sweep.storage=postgresql://me:***@host/db"
    ]  # fmt: skip


def test_run_files_contain_no_secret(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 2, "test/dogs": 2})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", "from-the-environment")
    argv = [
        "train", "dataset=folder", f"dataset.root={photos}", *TINY, "trainer.max_epochs=1", "run_dir=run",
        "+augment.mine._target_=torch.nn.Identity", "+augment.mine.password=given-as-a-word",
        "+augment.mine.key=${oc.env:MY_KEY}", "+augment.mine.address=https://me:in-an-address@host/",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["cnn-classifier", *argv])

    assert main(argv) == 0
    (tmp_path / "run" / "report.json").unlink()
    assert main([*argv, "resume=auto"]) == 0  # a redacted value does not prevent resuming

    for path in Path("run").rglob("*"):
        if path.is_file():
            for secret in (b"given-as-a-word", b"from-the-environment", b"in-an-address"):
                assert secret not in path.read_bytes(), path
    assert "key: ${oc.env:MY_KEY}" in Path("run/config.yaml").read_text()
