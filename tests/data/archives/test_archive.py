"""Tests of archive extraction: malicious, damaged and valid archives, and interrupted extraction."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.evil_archives import ATTACKS
from helpers.made_archives import Maker, member, special, tar_of, zip_of

from cnn_classifier.data.archives import archive as archive_module
from cnn_classifier.data.archives import extractor as extract_module
from cnn_classifier.data.archives.archive import extract_archive, is_archive
from cnn_classifier.errors import DataError, StorageError

IMAGES = {"cats/0.jpg": b"", "cats/1.jpg": random.Random(0).randbytes(1_500_000), "dogs/züge/.0.jpg": b"blue"}
MACOS_FILES = {"__MACOSX/cats/0.jpg": b"", "cats/._0.jpg": b""}
LIMITS = {
    "MAX_MEMBERS": (3, r"(has more than|exceeds the limit of) 3 (members|files and folders)"),
    "MAX_FILE_BYTES": (3, "is larger than 3 bytes"),
    "MAX_TOTAL_BYTES": (7, "exceeds the limit of 7 bytes in total"),
}
# A program that hangs after the given number of extracted files, after printing a line.
STOPPING_PROGRAM = """
import sys, time
from pathlib import Path
from cnn_classifier.data.archives import archive
class Stopping(archive.SafeExtractor):
    def extract(self, member):
        if self.num_files == int(sys.argv[3]):
            print("here", flush=True)
            time.sleep(600)
        return super().extract(member)
archive.SafeExtractor = Stopping
archive.extract_archive(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def write_image_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("empty/", b"")
        for name, content in (IMAGES | MACOS_FILES).items():
            archive.writestr(name, content)


def image_tar(pack: Callable[[bytes], bytes]) -> Maker:
    files = [member(f"./{name}", content, mode=0o4000) for name, content in (IMAGES | MACOS_FILES).items()]
    return tar_of(special(".", b"5"), special("./empty", b"5"), *files, pack=pack)


def read_tree(root: Path) -> dict[str, bytes | None]:
    """Return every path below a folder, with the content of files and None for folders."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to extract to, `home/images`, with a canary file beside it and one beside `home`."""
    (tmp_path / "home").mkdir()
    (tmp_path / "canary.jpg").write_bytes(b"canary")
    (tmp_path / "home" / "canary.jpg").write_bytes(b"canary")
    return tmp_path / "home" / "images"


def assert_refused(archive: Path, folder: Path, error: type[Exception], reason: str) -> None:
    """Assert that extraction fails with a one-line reason that names the archive, and only adds a lock file."""
    before = read_tree(archive.parent) | {"home/images.lock": b""}
    with pytest.raises(error, match=reason) as raised:
        extract_archive(archive, folder)
    assert re.match(rf"(Cannot (read|extract) )?{re.escape(str(archive))}\b", str(raised.value))
    assert len(str(raised.value).splitlines()) == 1
    assert read_tree(archive.parent) | {"home/images.lock": b""} == before


@pytest.mark.parametrize("attack", ATTACKS)
def test_malicious_archive_is_refused_and_leaves_no_files(attack: str, folder: Path, tmp_path: Path) -> None:
    make, reason = ATTACKS[attack]
    make(tmp_path / "bad")
    assert_refused(tmp_path / "bad", folder, DataError, reason)


@pytest.mark.parametrize("make", [zip_of(*"abcd"), tar_of(*map(member, "abcd"))], ids=["zip", "tar"])
@pytest.mark.parametrize("limit", LIMITS)
def test_archive_beyond_a_limit_is_refused(
    limit: str, make: Maker, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, reason = LIMITS[limit]
    monkeypatch.setattr(extract_module, limit, value)
    monkeypatch.setattr(archive_module, "MAX_MEMBERS", extract_module.MAX_MEMBERS)
    make(tmp_path / "bad")
    assert_refused(tmp_path / "bad", folder, DataError, reason)


def test_folders_count_toward_the_member_limit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract_module, "MAX_MEMBERS", 3)
    zip_of("a/b/c/d")(tmp_path / "bad")
    assert_refused(tmp_path / "bad", folder, DataError, "'a/b/c' exceeds the limit of 3 files and folders")


@pytest.mark.parametrize("make", [write_image_zip, image_tar(gzip.compress)], ids=["zip", "tar"])
def test_archive_larger_than_the_free_space_is_refused(
    make: Maker, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "SPACE_STEP_BYTES", 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 1_000_000))
    make(tmp_path / "good")
    assert_refused(
        tmp_path / "good", folder, StorageError, r"needs \d MB more in .*home, which has 1 MB free\. Free space there"
    )


@pytest.mark.parametrize(
    "make",
    [write_image_zip, *(image_tar(pack) for pack in (bytes, gzip.compress, bz2.compress, lzma.compress))],
    ids=["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"],
)
def test_valid_archive_is_extracted_once_and_marked_complete(
    make: Maker, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "good"
    make(archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()

    assert extract_archive(archive, folder) == folder

    content = read_tree(folder)
    marker = content.pop(".done.json") or b""
    assert json.loads(marker) == {"archive": "good", "sha256": digest, "files": 3, "bytes": 1_500_004}
    assert content == IMAGES | dict.fromkeys(["cats", "dogs", "dogs/züge", "empty"])
    assert {path.name for path in folder.parent.iterdir()} == {"canary.jpg", "images", "images.lock"}
    assert all(os.access(path, os.R_OK) and not path.stat().st_mode & stat.S_ISUID for path in folder.rglob("*"))
    monkeypatch.delattr(archive_module, "extract_members")
    archive.unlink()
    assert extract_archive(archive, folder) == folder


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
@pytest.mark.parametrize("files", [0, 1, 30, 59])
def test_killed_extraction_leaves_no_folder_and_the_next_run_completes(
    files: int, folder: Path, tmp_path: Path
) -> None:
    names = [f"{index % 3}/{index}.jpg" for index in range(60)]
    zip_of(*names)(tmp_path / "good.zip")
    command = [sys.executable, "-c", STOPPING_PROGRAM, str(tmp_path / "good.zip"), str(folder), str(files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.kill()
    assert not folder.exists()
    assert len(list((folder.parent / ".partial-images").rglob("*.jpg"))) == files

    extract_archive(tmp_path / "good.zip", folder)

    assert {name: content for name, content in read_tree(folder).items() if name.endswith("jpg")} == dict.fromkeys(
        names, b"evil"
    )
    assert not (folder.parent / ".partial-images").exists()


def test_existing_folder_that_is_not_an_archive_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    zip_of("a.jpg")(tmp_path / "good.zip")
    folder.mkdir()
    (folder / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"images exists but is not an extracted archive\. Move or delete it\.$"):
        extract_archive(tmp_path / "good.zip", folder)
    assert read_tree(folder) == {"mine.jpg": b"mine"}


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP", "a.b.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.txz"])
def test_archives_are_recognized_by_suffix(name: str) -> None:
    assert is_archive(Path(name))
    assert not is_archive(Path(f"{name}.jpg"))
