"""Test of a study that two processes share in a PostgreSQL database; skipped if PostgreSQL is not installed."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.sweep.study import open_storage

PG_CTL = Path(shutil.which("pg_ctl") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), default=""))
pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not PG_CTL.is_file(), reason="requires the PostgreSQL server")
SERVER_USER = "postgres" if getpass.getuser() == "root" else None  # root must not run the server


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a new PostgreSQL server on a free port."""
    with socket.socket() as free_socket:
        free_socket.bind(("127.0.0.1", 0))
        port = free_socket.getsockname()[1]
    folder = Path("/tmp", f"cnn_classifier_{os.getpid()}")  # readable by the server user; socket paths must be short
    folder.mkdir()
    if SERVER_USER:
        shutil.chown(folder, SERVER_USER)

    def call(program: str, *arguments: str) -> None:
        command = [PG_CTL.with_name(program), *arguments]
        subprocess.run(command, user=SERVER_USER, cwd=folder, check=True, capture_output=True)

    data = str(folder / "data")
    call("initdb", "--pgdata", data, "--username=tester", "--auth=trust")
    options = f"-p {port} -k {folder}"
    call("pg_ctl", "--pgdata", data, "--wait", "--log", str(folder / "log"), "--options", options, "start")
    try:
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "--pgdata", data, "--mode=immediate", "stop")
        shutil.rmtree(folder)


def test_two_processes_share_a_study(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    shared = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", f"sweep.storage={database_url}", "sweep.study=shared"]
    arguments = ["-m", *shared, *TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=1"]
    command = [sys.executable, "-m", "cnn_classifier", "train", *arguments, "optimizer.lr=interval(0.001,0.1)"]

    workers = [subprocess.Popen([*command, f"hydra.sweep.dir={name}"]) for name in ("first", "second")]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]

    storage = open_storage(database_url)
    trials = optuna.load_study(study_name="shared", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * len(trials)
    assert 4 <= len(trials) <= 5  # both processes may start the last trial
    num_runs = {name: len(list(Path(name).glob("*/report.json"))) for name in ("first", "second")}
    assert sum(num_runs.values()) == len(trials)
    assert min(num_runs.values()) >= 1
    assert database_url not in Path("first/0/config.yaml").read_text(encoding="utf-8")
