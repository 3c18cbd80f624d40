"""Two workers share a study in a real PostgreSQL, as several machines do; skipped where there is none."""

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

PROGRAMS = Path(shutil.which("pg_ctl") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), default=""))
pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not PROGRAMS.is_file(), reason="needs PostgreSQL's server")
SERVER = "postgres" if getpass.getuser() == "root" else None  # which root may not run


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of its own, on a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path("/tmp", f"cnn_classifier_{os.getpid()}")  # its own user must reach it, and a socket's path is short
    folder.mkdir()
    if SERVER:
        shutil.chown(folder, SERVER)

    def call(program: str, *words: str) -> None:
        subprocess.run([PROGRAMS.with_name(program), *words], user=SERVER, cwd=folder, check=True, capture_output=True)

    data = str(folder / "data")
    call("initdb", "--pgdata", data, "--username=ours", "--auth=trust")
    options = f"-p {port} -k {folder}"
    call("pg_ctl", "--pgdata", data, "--wait", "--log", str(folder / "log"), "--options", options, "start")
    try:
        yield f"postgresql://ours@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "--pgdata", data, "--mode=immediate", "stop")
        shutil.rmtree(folder)


def test_two_workers_share_a_study(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    root = make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    shared = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", f"sweep.storage={address}", "sweep.study=ours"]
    words = ["-m", *shared, *TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=1"]
    command = [sys.executable, "-m", "cnn_classifier", "train", *words, "optimizer.lr=interval(0.001,0.1)"]

    workers = [subprocess.Popen([*command, f"hydra.sweep.dir={name}"]) for name in ("first", "second")]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]

    storage = open_storage(address)
    trials = optuna.load_study(study_name="ours", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * len(trials)
    assert 4 <= len(trials) <= 5  # both may begin the last one
    ran = {name: len(list(Path(name).glob("*/report.json"))) for name in ("first", "second")}
    assert sum(ran.values()) == len(trials)
    assert min(ran.values()) >= 1
    assert address not in Path("first/0/config.yaml").read_text(encoding="utf-8")
