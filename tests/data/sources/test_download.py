"""Tests of verified downloads: caching, mirrors, checksums, interruption and Google Drive links."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from helpers.download_site import CHECKSUM, CONTENT, HALF, Site, hang_at_half, respond_with, run_site

from cnn_classifier.data.sources.download import download_file
from cnn_classifier.errors import ConfigError, DataError

DRIVE = "https://drive.google.com/file/d/1AbC/view?usp=sharing"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("CNN_CLASSIFIER_MIRROR", raising=False)
    with run_site() as site:
        yield site


@pytest.mark.parametrize("checksum", [CHECKSUM, CHECKSUM.upper().replace("SHA256", "sha256"), None, "md5"])
def test_file_is_downloaded_once(site: Site, tmp_path: Path, checksum: str | None) -> None:
    if checksum == "md5":
        checksum = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"
    first = download_file(f"{site.address}/data/pets.zip?v=2", tmp_path / "new", checksum=checksum)
    assert (first.name, first.read_bytes()) == ("pets.zip", CONTENT)
    assert download_file(f"{site.address}/data/pets.zip?v=2", tmp_path / "new", checksum=checksum) == first
    assert site.requests == [("/data/pets.zip?v=2", None)]
    assert {path.suffix for path in first.parent.iterdir()} <= {".zip", ".lock"}


def test_download_without_checksum_prints_the_checksum(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download_file(f"{site.address}/pets.zip", tmp_path)
    output = capsys.readouterr()
    assert f"/pets.zip has checksum {CHECKSUM}; set dataset.checksum={CHECKSUM} to pin this file\n" in output.err
    assert output.out == ""


def test_files_with_the_same_name_have_separate_folders(site: Site, tmp_path: Path) -> None:
    requests = [("/a/pets.zip", None), ("/b/pets.zip", None), ("/a/pets.zip?v=2", None), ("/a/pets.zip", CHECKSUM)]
    paths = [download_file(site.address + address, tmp_path, checksum=checksum) for address, checksum in requests]
    assert len(set(paths)) == len(site.requests) == 4
    assert {path.name for path in paths} == {"pets.zip"}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/a/my%20pets%2F..%5Cx.zip", "my_pets_.._x.zip"),
        ("/..", "download"),
        ("/?file=pets.zip", "download"),
        ("/.hidden", "hidden"),
        ("/" + "long" * 100 + ".tar.gz", ("long" * 24)[3:] + ".tar.gz"),
    ],
)
def test_file_name_is_valid_on_every_file_system(site: Site, tmp_path: Path, address: str, name: str) -> None:
    path = download_file(site.address + address, tmp_path)
    assert path.name == name[-100:]
    assert path.parent.parent == tmp_path


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_mirror_is_used_by_file_name_and_verified(
    site: Site, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = f"{site.address}/mirror/"
    monkeypatch.setenv("CNN_CLASSIFIER_MIRROR", mirror if by == "environment" else "https://example.invalid")
    mirror_argument = mirror if by == "argument" else None
    url = "https://example.invalid/data/pets.zip"
    assert download_file(url, tmp_path, checksum=CHECKSUM, mirror=mirror_argument).read_bytes() == CONTENT
    site.faults = [respond_with(200, b"other bytes")]
    with pytest.raises(DataError, match="expected sha256:"):
        download_file(url, tmp_path / "again", checksum=CHECKSUM, mirror=mirror_argument)
    assert site.requests == [("/mirror/pets.zip", None)] * 2


@pytest.mark.parametrize(
    "checksum", ["", "sha256:", CHECKSUM[7:], CHECKSUM + "0", "sha1:" + "0" * 40, "md5:" + "g" * 32]
)
def test_malformed_checksum_raises_config_error_before_any_request(site: Site, tmp_path: Path, checksum: str) -> None:
    with pytest.raises(ConfigError, match=f"^dataset.checksum={checksum} is malformed. Expected sha256:HEX"):
        download_file(f"{site.address}/pets.zip", tmp_path, checksum=checksum)
    assert site.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.invalid/pets.zip", "file:///etc/passwd", "ftp://example.invalid/x"])
def test_url_that_is_not_https_raises_data_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=f"^{url} is not an https URL. Download it yourself"):
        download_file(url, tmp_path)


def test_concurrent_downloads_of_one_file_make_one_request(site: Site, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(
            pool.map(lambda _: download_file(f"{site.address}/pets.zip", tmp_path, checksum=CHECKSUM), range(4))
        )
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(site.requests) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("checksum", [CHECKSUM, None], ids=["checksum", "no checksum"])
def test_killed_download_is_resumed(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [hang_at_half]
    url = f"{site.address}/pets.zip"
    program = (
        "import sys, pathlib; from cnn_classifier.data.sources.download import download_file; "
        f"download_file(sys.argv[1], pathlib.Path(sys.argv[2]), checksum={checksum!r})"
    )
    with subprocess.Popen([sys.executable, "-c", program, url, str(tmp_path)]) as process:
        while not (partials := list(tmp_path.rglob("*.partial"))) or partials[0].stat().st_size < HALF // 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.rglob("pets.zip")) == []
    num_bytes = partials[0].stat().st_size

    path = download_file(url, tmp_path, checksum=checksum)

    assert path.read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={num_bytes}-"]
    assert list(tmp_path.rglob("*.partial*")) == []


class RequestError(OSError):
    """A stand-in for `requests.RequestException`."""


class DriveError(Exception):
    """A stand-in for gdown's `DownloadError`."""


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A fake gdown 6 that writes `content` or raises `error`."""
    state = SimpleNamespace(content=CONTENT, error=None, requests=[])

    def download(url: str, output: str, **options: object) -> None:
        state.requests.append((url, options["resume"], options["use_cookies"]))
        if state.error:
            raise state.error
        Path(output).write_bytes(state.content)

    gdown, requests = ModuleType("gdown"), ModuleType("requests")
    gdown.download = download  # type: ignore[attr-defined]
    gdown.exceptions = SimpleNamespace(DownloadError=DriveError)  # type: ignore[attr-defined]
    gdown.parse_url = SimpleNamespace(parse_url=lambda url: ("1AbC" if "/file/d/" in url else None, False))  # type: ignore[attr-defined]
    requests.RequestException = RequestError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    monkeypatch.setitem(sys.modules, "requests", requests)
    return state


@pytest.mark.parametrize("checksum", [CHECKSUM, None])
def test_drive_link_is_downloaded_by_gdown_and_verified(
    drive: SimpleNamespace, tmp_path: Path, checksum: str | None
) -> None:
    assert download_file(DRIVE, tmp_path, checksum=checksum, mirror="https://example.invalid").read_bytes() == CONTENT
    assert drive.requests == [(DRIVE, checksum is not None, False)]


def test_failed_or_wrong_drive_download_raises_data_error(drive: SimpleNamespace, tmp_path: Path) -> None:
    drive.content = b"Quota exceeded"
    with pytest.raises(DataError, match=r"expected sha256:.* got sha256:"):
        download_file(DRIVE, tmp_path, checksum=CHECKSUM)
    for drive.error in (DriveError("Cannot retrieve\n\n\tthe link"), RequestError("Cannot retrieve the link")):
        with pytest.raises(DataError, match=r": Cannot retrieve the link\. Share it with everyone, or pass the file"):
            download_file(DRIVE, tmp_path)
    with pytest.raises(DataError, match=r"is not a link to a file\. Expected a link such as https://drive"):
        download_file("https://drive.google.com/drive/folders/1AbC", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_drive_link_without_gdown_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ConfigError, match=r'requires the drive extra: pip install .*\[drive\]"$'):
        download_file(DRIVE, tmp_path)
