"""A file is fetched once, whole, and only then has its name; killed or doubled, a run does no harm."""

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
from helpers.download_site import CHECKSUM, CONTENT, HALF, Site, answering, hangs_at_half, serving

from cnn_classifier.data.sources.download import download_file
from cnn_classifier.errors import ConfigError, DataError

DRIVE = "https://drive.google.com/file/d/1AbC/view?usp=sharing"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("CNN_CLASSIFIER_MIRROR", raising=False)
    with serving() as site:
        yield site


@pytest.mark.parametrize("checksum", [CHECKSUM, CHECKSUM.upper().replace("SHA256", "sha256"), None, "md5"])
def test_a_file_is_fetched_once(site: Site, tmp_path: Path, checksum: str | None) -> None:
    if checksum == "md5":
        checksum = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"
    first = download_file(f"{site.address}/data/pets.zip?v=2", tmp_path / "new", checksum=checksum)
    assert (first.name, first.read_bytes()) == ("pets.zip", CONTENT)
    assert download_file(f"{site.address}/data/pets.zip?v=2", tmp_path / "new", checksum=checksum) == first
    assert site.asked == [("/data/pets.zip?v=2", None)]
    assert {path.suffix for path in first.parent.iterdir()} <= {".zip", ".lock"}


def test_a_file_without_checksum_tells_its_own(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    download_file(f"{site.address}/pets.zip", tmp_path)
    told = capsys.readouterr()
    assert f"/pets.zip has checksum {CHECKSUM}; set dataset.checksum={CHECKSUM} to pin this file\n" in told.err
    assert told.out == ""


def test_files_of_one_name_do_not_meet(site: Site, tmp_path: Path) -> None:
    asked = [("/a/pets.zip", None), ("/b/pets.zip", None), ("/a/pets.zip?v=2", None), ("/a/pets.zip", CHECKSUM)]
    paths = [download_file(site.address + address, tmp_path, checksum=checksum) for address, checksum in asked]
    assert len(set(paths)) == len(site.asked) == 4
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
def test_a_name_is_one_that_every_file_system_takes(site: Site, tmp_path: Path, address: str, name: str) -> None:
    path = download_file(site.address + address, tmp_path)
    assert path.name == name[-100:]
    assert path.parent.parent == tmp_path


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_mirror_is_asked_by_name_and_verified(
    site: Site, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = f"{site.address}/mirror/"
    monkeypatch.setenv("CNN_CLASSIFIER_MIRROR", mirror if by == "environment" else "https://example.invalid")
    given = mirror if by == "argument" else None
    url = "https://example.invalid/data/pets.zip"
    assert download_file(url, tmp_path, checksum=CHECKSUM, mirror=given).read_bytes() == CONTENT
    site.faults = [answering(200, b"other bytes")]
    with pytest.raises(DataError, match="expected sha256:"):
        download_file(url, tmp_path / "again", checksum=CHECKSUM, mirror=given)
    assert site.asked == [("/mirror/pets.zip", None)] * 2


@pytest.mark.parametrize(
    "checksum", ["", "sha256:", CHECKSUM[7:], CHECKSUM + "0", "sha1:" + "0" * 40, "md5:" + "g" * 32]
)
def test_a_malformed_checksum_is_told_before_anything_is_asked(site: Site, tmp_path: Path, checksum: str) -> None:
    with pytest.raises(ConfigError, match=f"^dataset.checksum={checksum} is malformed. Expected sha256:HEX"):
        download_file(f"{site.address}/pets.zip", tmp_path, checksum=checksum)
    assert site.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.invalid/pets.zip", "file:///etc/passwd", "ftp://example.invalid/x"])
def test_only_https_is_asked_for(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=f"^{url} is not an https URL. Download it yourself"):
        download_file(url, tmp_path)


def test_two_runs_at_once_download_once(site: Site, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(
            pool.map(lambda _: download_file(f"{site.address}/pets.zip", tmp_path, checksum=CHECKSUM), range(4))
        )
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(site.asked) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("checksum", [CHECKSUM, None], ids=["checksum", "no checksum"])
def test_a_killed_download_is_gone_on_from(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [hangs_at_half]
    url = f"{site.address}/pets.zip"
    run = (
        "import sys, pathlib; from cnn_classifier.data.sources.download import download_file; "
        f"download_file(sys.argv[1], pathlib.Path(sys.argv[2]), checksum={checksum!r})"
    )
    with subprocess.Popen([sys.executable, "-c", run, url, str(tmp_path)]) as killed:
        while not (partials := list(tmp_path.rglob("*.partial"))) or partials[0].stat().st_size < HALF // 2:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    assert list(tmp_path.rglob("pets.zip")) == []
    kept = partials[0].stat().st_size

    path = download_file(url, tmp_path, checksum=checksum)

    assert path.read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={kept}-"]
    assert list(tmp_path.rglob("*.partial*")) == []


class RequestError(OSError):
    """What requests raises."""


class DriveError(Exception):
    """What gdown raises."""


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A gdown 6 that brings `content`, or raises `error`."""
    state = SimpleNamespace(content=CONTENT, error=None, asked=[])

    def download(url: str, output: str, **options: object) -> None:
        state.asked.append((url, options["resume"], options["use_cookies"]))
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
def test_a_drive_link_is_fetched_by_gdown_and_verified(
    drive: SimpleNamespace, tmp_path: Path, checksum: str | None
) -> None:
    assert download_file(DRIVE, tmp_path, checksum=checksum, mirror="https://example.invalid").read_bytes() == CONTENT
    assert drive.asked == [(DRIVE, checksum is not None, False)]


def test_what_drive_brings_wrong_or_not_at_all_is_refused(drive: SimpleNamespace, tmp_path: Path) -> None:
    drive.content = b"Quota exceeded"
    with pytest.raises(DataError, match=r"expected sha256:.* got sha256:"):
        download_file(DRIVE, tmp_path, checksum=CHECKSUM)
    for drive.error in (DriveError("Cannot retrieve\n\n\tthe link"), RequestError("Cannot retrieve the link")):
        with pytest.raises(DataError, match=r": Cannot retrieve the link\. Share it with everyone, or pass the file"):
            download_file(DRIVE, tmp_path)
    with pytest.raises(DataError, match=r"is not a link to a file\. Expected a link such as https://drive"):
        download_file("https://drive.google.com/drive/folders/1AbC", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_drive_link_without_gdown_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ConfigError, match=r'requires the drive extra: pip install "cnn_classifier\[drive\]"$'):
        download_file(DRIVE, tmp_path)
