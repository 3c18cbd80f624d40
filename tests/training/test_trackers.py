"""Logging to an MLflow server and to Weights & Biases offline; skipped if they are not installed."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.cli.main import main

SERVER = importlib.util.find_spec("mlflow") and importlib.util.find_spec("flask")
needs_mlflow = pytest.mark.skipif(not SERVER, reason="needs mlflow, with its server")
needs_wandb = pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="needs wandb")


@pytest.fixture
def overrides(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    return [*TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=2"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[bytes]"]:
    """An MLflow server on a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        f"--backend-store-uri={store}",
        f"--port={port}",
        "--workers=1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield process
    finally:
        kill(process)


def kill(server: "subprocess.Popen[bytes]") -> None:
    """Kill the server and its child processes."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{address} does not respond")


@needs_mlflow
def test_mlflow_logs_each_epoch_and_tags_the_jobs_of_a_sweep(
    overrides: list[str], server: "subprocess.Popen[bytes]"
) -> None:
    from mlflow.tracking import MlflowClient

    assert main(["train", "-m", *overrides, "logger=mlflow", "seed=1,2", "hydra.sweep.dir=rates"]) == 0

    client = MlflowClient()
    experiment = client.get_experiment_by_name("folder")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert {run.data.tags["sweep"] for run in runs} == {"rates"}
    assert len(client.get_metric_history(runs[0].info.run_id, "val/accuracy")) == 2


@needs_mlflow
def test_unreachable_mlflow_server_does_not_stop_training(
    overrides: list[str], server: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    kill(server)

    assert main(["train", *overrides, "logger=mlflow", "run_dir=run"]) == 0

    assert "MLFlowLogger failed and is disabled for the rest of the run" in capsys.readouterr().err
    assert Path("run/report.html").exists()


@needs_wandb
def test_wandb_offline_logs_validation_accuracy(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")

    assert main(["train", *overrides, "logger=wandb", "run_dir=run"]) == 0

    (log_file,) = Path("run").rglob("run-*.wandb")
    assert b"val/accuracy" in log_file.read_bytes()
