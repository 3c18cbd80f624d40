"""The service as a process: concurrency, options, signals and resource usage."""

import os
import re
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
    with run_service(bundle, "--no-access-log") as service:
        yield service


def test_concurrent_clients_receive_the_prediction_of_predictor(
    service: ServiceProcess, bundle: Path, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    expected = Predictor.load(bundle).predict(tmp_path / "photo.jpg")
    responses: list[httpx2.Response] = []

    def send_request() -> None:
        responses.append(httpx2.post(f"{service.address}/predict", content=photo, headers=JPEG_HEADERS, timeout=30))

    threads = [threading.Thread(target=send_request) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [response.status_code for response in responses] == [200] * 30
    for response in responses:
        (prediction,) = response.json()["predictions"]
        assert prediction["probability"] == pytest.approx(expected.probability, abs=1e-5)


def test_options_set_threshold_and_body_limit(bundle: Path) -> None:
    with run_service(
        bundle, "--threshold", "0.9", "--max-body-mb", "0.01", "--threads", "1", "--no-access-log"
    ) as service:
        assert service.address.startswith("http://127.0.0.1:")
        assert httpx2.get(f"{service.address}/ready").json()["threshold"] == 0.9
        response = httpx2.post(f"{service.address}/predict", content=bytes(20_000), headers=JPEG_HEADERS)
        assert (response.status_code, response.text) == (413, "Content Too Large")
        service.process.kill()
        assert service.process.stderr is not None
        assert service.process.stderr.read() == ""


def test_occupied_port_exits_2_with_one_line(
    service: ServiceProcess, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(bundle), "--port", str(service.port)]) == 2
    output = capsys.readouterr().err
    assert output.startswith(f"error: Cannot listen on 127.0.0.1:{service.port}: ")
    assert output.endswith("Choose another --port or --host.\n")


@pytest.mark.parametrize("value", ["x", "-1", "65536"])
def test_invalid_port_exits_2(bundle: Path, value: str) -> None:
    assert main(["serve", str(bundle), f"--port={value}"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_finishes_pending_request_and_stops_listening(bundle: Path, photo: bytes) -> None:
    with run_service(bundle) as service, connect(service) as connection:
        connection.sendall(REQUEST_HEADERS + b"Content-Length: %d\r\n\r\n" % len(photo) + photo[:100])
        httpx2.get(
            f"{service.address}/health"
        )  # connections are accepted in order, so the first one is accepted by now
        service.process.send_signal(signal.SIGTERM)
        start_time = time.perf_counter()
        while is_listening(service):
            assert time.perf_counter() - start_time < 20
            time.sleep(0.02)
        connection.sendall(photo[100:])
        assert receive_all(connection).startswith(b"HTTP/1.1 200 OK")
        assert service.process.wait(20) == 143
        assert time.perf_counter() - start_time < 20


def is_listening(service: ServiceProcess) -> bool:
    try:
        connect(service).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_sigint_exits_130_after_the_access_log(bundle: Path) -> None:
    with run_service(bundle) as service:
        httpx2.get(f"{service.address}/health?top_k=1")
        httpx2.get(f"{service.address}/none%0Asuch")
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(20) == 130
        assert service.process.stderr is not None
        *requests, last = service.process.stderr.read().splitlines()
        time_and_line = [re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*) \d+\.\d ms", line) for line in requests]
        assert [match and match[1] for match in time_and_line] == ["GET /health 200", "GET /none%0Asuch 404"]
        assert last == "stopped"
        assert service.process.stdout is not None
        assert service.process.stdout.read() == f"API reference at {service.address}/docs. Press Ctrl-C to stop.\n"


def test_service_writes_no_files(bundle: Path, photo: bytes, tmp_path: Path) -> None:
    variables = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "ORT_"))}
    with run_service(bundle, env=environment | dict.fromkeys(variables, str(tmp_path))) as service:
        assert httpx2.post(f"{service.address}/predict", content=photo, headers=JPEG_HEADERS).status_code == 200
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="requires /proc")
def test_process_does_not_load_torch(service: ServiceProcess) -> None:
    maps = Path(f"/proc/{service.process.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "torch" not in maps


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="requires /proc")
def test_memory_and_open_files_are_stable_over_500_requests(service: ServiceProcess, photo: bytes) -> None:
    def read_metrics() -> tuple[float, float]:
        metrics = dict(line.rsplit(" ", 1) for line in httpx2.get(f"{service.address}/metrics").text.splitlines())
        return float(metrics["process_resident_memory_bytes"]), float(metrics["process_open_fds"])

    with httpx2.Client() as client:

        def send_requests(count: int) -> None:
            for index in range(count):
                content = photo if index % 2 else photo[: index % 500]
                client.post(f"{service.address}/predict", content=content, headers=JPEG_HEADERS)

        send_requests(200)
        memory, num_files = read_metrics()
        send_requests(500)
        final_memory, final_num_files = read_metrics()
    assert final_memory - memory < 5e6
    assert final_num_files <= num_files + 2
