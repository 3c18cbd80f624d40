"""The real process, over real sockets: it starts, takes its time with nobody, and ends with its work done."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from helpers.serving import JPEG_HEADERS, REQUEST_HEADERS, ServiceProcess, connect, receive_all, run_service

from cnn_classifier import Predictor
from cnn_classifier.cli.main import main


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[ServiceProcess]:
    with run_service(bundle) as service:
        yield service


def test_thirty_clients_at_once_get_the_answers_of_predict(
    service: ServiceProcess, bundle: Path, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    expected = Predictor.load(bundle).predict(tmp_path / "photo.jpg")[0]
    replies: list[httpx2.Response] = []

    def ask() -> None:
        replies.append(httpx2.post(f"{service.address}/predict", content=photo, headers=JPEG_HEADERS, timeout=30))

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in replies] == [200] * 30
    for reply in replies:
        (answer,) = reply.json()["predictions"]
        assert answer["probability"] == pytest.approx(expected.probability, abs=1e-5)


def test_it_says_where_it_is_and_what_it_knows(bundle: Path) -> None:
    with run_service(bundle, "--threshold", "0.9", "--limit", "0.01", "--threads", "1") as service:
        assert service.address.startswith("http://127.0.0.1:")
        assert httpx2.get(f"{service.address}/ready").json()["threshold"] == 0.9
        too_much = httpx2.post(f"{service.address}/predict", content=bytes(20_000), headers=JPEG_HEADERS)
        assert (too_much.status_code, too_much.text) == (413, "Content Too Large")


def test_a_port_that_is_taken_is_one_line(
    service: ServiceProcess, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(bundle), "--port", str(service.port)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: 127.0.0.1:{service.port} cannot be listened on (")
    assert told.endswith("choose another --port or --host\n")


@pytest.mark.parametrize("word", ["x", "-1", "65536"])
def test_a_port_that_is_none_is_one_line(bundle: Path, word: str) -> None:
    assert main(["serve", str(bundle), f"--port={word}"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_finishes_what_was_begun_and_takes_no_more(bundle: Path, photo: bytes) -> None:
    with run_service(bundle) as service, connect(service) as begun:
        begun.sendall(REQUEST_HEADERS + b"Content-Length: %d\r\n\r\n" % len(photo) + photo[:100])
        httpx2.get(f"{service.address}/health")  # connections are taken in order: by now the first one is in
        service.process.send_signal(signal.SIGTERM)
        started = time.perf_counter()
        while is_listening(service):
            assert time.perf_counter() - started < 20
            time.sleep(0.02)
        begun.sendall(photo[100:])
        assert receive_all(begun).startswith(b"HTTP/1.1 200 OK")
        assert service.process.wait(20) == 143
        assert time.perf_counter() - started < 20


def is_listening(service: ServiceProcess) -> bool:
    try:
        connect(service).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_ends_in_one_line(bundle: Path) -> None:
    with run_service(bundle) as service:
        httpx2.get(f"{service.address}/health")
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(20) == 130
        assert service.process.stderr is not None
        assert service.process.stderr.read() == "error: interrupted\n"


def test_nothing_is_kept_of_pictures_and_users(bundle: Path, photo: bytes, tmp_path: Path) -> None:
    places = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "ORT_"))}
    with run_service(bundle, env=environment | dict.fromkeys(places, str(tmp_path))) as service:
        assert httpx2.post(f"{service.address}/predict", content=photo, headers=JPEG_HEADERS).status_code == 200
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has loaded")
def test_no_torch_is_in_the_real_process(service: ServiceProcess) -> None:
    maps = Path(f"/proc/{service.process.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "torch" not in maps


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process holds")
def test_memory_and_files_are_where_they_were_after_five_hundred_pictures(
    service: ServiceProcess, photo: bytes
) -> None:
    def measured() -> tuple[float, float]:
        told = dict(line.rsplit(" ", 1) for line in httpx2.get(f"{service.address}/metrics").text.splitlines())
        return float(told["process_resident_memory_bytes"]), float(told["process_open_fds"])

    with httpx2.Client() as client:

        def ask(times: int) -> None:
            for turn in range(times):
                content = photo if turn % 2 else photo[: turn % 500]
                client.post(f"{service.address}/predict", content=content, headers=JPEG_HEADERS)

        ask(200)
        memory, files = measured()
        ask(500)
        more_memory, more_files = measured()
    assert more_memory - memory < 5e6
    assert more_files <= files + 2
