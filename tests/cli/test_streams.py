"""Output that nobody reads, and the time of a command."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main, process_start_time
from cnn_classifier.cli.streams import OutputClosedError, OutputFile, robust_streams
from cnn_classifier.training.status import read_status

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")


@pytest.fixture
def closed_pipe() -> Iterator[io.TextIOWrapper]:
    """The writing end of a pipe whose reader has exited, as after `| head`."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True)
    yield stream
    stream.close()


def test_training_without_a_reader_runs_to_the_end(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_pipe: io.TextIOWrapper
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder({"cats": 12, "dogs": 12})
    monkeypatch.setattr(sys, "stdout", closed_pipe)
    small = [
        "dataset.image_size=16",
        "model.widths=[4,8]",
        "model.stem_stride=1",
        "trainer=cpu",
        "trainer.max_epochs=1",
    ]

    assert main(["train", "dataset=folder", "dataset.root=images", "run_dir=run", "augment=none", *small]) == 0

    status = read_status(tmp_path / "run")
    assert (status.state, status.message) == ("done", "")
    seconds = json.loads((tmp_path / "run" / "report.json").read_text())["timing"]["total_seconds"]
    assert status.seconds == pytest.approx(seconds)
    assert sys.stdout is closed_pipe


def test_lost_reader_stops_only_a_command_whose_output_is_its_result(
    monkeypatch: pytest.MonkeyPatch, closed_pipe: io.TextIOWrapper
) -> None:
    monkeypatch.setattr(sys, "stdout", closed_pipe)
    with robust_streams(stops=True), pytest.raises(OutputClosedError):
        print("a prediction", flush=True)
    with robust_streams(stops=False) as files:
        print("the descriptor is the null device now", flush=True)
    assert [file.error for file in files] == [None] * len(files)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_full_disk_below_the_output_is_reported_with_exit_code_5(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with io.TextIOWrapper(Path("/dev/full").open("wb")) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["cache"]) == 5
        monkeypatch.undo()
    assert "The printed output is incomplete: No space left on device" in capsys.readouterr().err


def test_closed_standard_streams_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with robust_streams(stops=False):
        print("nobody reads this", file=sys.stdout)
    assert sys.stdout is None


def test_failed_write_does_not_lose_what_was_written_before(tmp_path: Path) -> None:
    class FailingFile(io.FileIO):
        def write(self, data: object) -> int:
            raise OSError(5, "the terminal was closed")

    with FailingFile(tmp_path / "log", "w") as raw:
        file = OutputFile(raw, stops=False)
        assert file.write(b"five!") == 5
        assert file.error is not None
        assert os.fstat(raw.fileno()).st_rdev == Path(os.devnull).stat().st_rdev


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_process_start_time_includes_the_start_of_python() -> None:
    started = time.time()
    code = "from cnn_classifier.cli.main import process_start_time; print(process_start_time())"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert started - 0.05 <= float(output) < started + 0.5 * (time.time() - started)
    assert process_start_time() < started
