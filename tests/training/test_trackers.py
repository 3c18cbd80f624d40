"""MLflow with a server of its own, and Weights & Biases offline; skipped where they are not installed."""

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
def words(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    return [*TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=2"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[bytes]"]:
    """MLflow's server on a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
        end(process)


def end(server: "subprocess.Popen[bytes]") -> None:
    """It and the processes that it started."""
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
    pytest.fail(f"{address} does not answer")


@needs_mlflow
def test_mlflow_has_each_epoch_and_the_jobs_of_a_sweep_together(
    words: list[str], server: "subprocess.Popen[bytes]"
) -> None:
    from mlflow.tracking import MlflowClient

    assert main(["train", "-m", *words, "logger=mlflow", "seed=1,2", "hydra.sweep.dir=rates"]) == 0

    client = MlflowClient()
    experiment = client.get_experiment_by_name("folder")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert {run.data.tags["sweep"] for run in runs} == {"rates"}
    assert len(client.get_metric_history(runs[0].info.run_id, "val/accuracy")) == 2


@needs_mlflow
def test_a_server_that_dies_stops_no_training(
    words: list[str], server: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    end(server)

    assert main(["train", *words, "logger=mlflow", "run_dir=run"]) == 0

    assert "MLFlowLogger failed and is left out from here on" in capsys.readouterr().err
    assert Path("run/report.html").exists()


@needs_wandb
def test_weights_and_biases_offline(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")

    assert main(["train", *words, "logger=wandb", "run_dir=run"]) == 0

    (kept,) = Path("run").rglob("run-*.wandb")
    assert b"val/accuracy" in kept.read_bytes()
