"""What is in `deploy/` holds together: files exist, words are understood, AWS would take it; nothing is sent."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import httpx2
import pytest
from helpers.dockerfile import DEPLOY_DIR, STAGES, get_instruction
from helpers.image_bytes import encode_jpeg
from helpers.serving import COMMAND, ServiceProcess, run_service

from cnn_classifier.cli.parser import build_parser
from cnn_classifier.cli.serve import run as serve_command

ROOT = Path(__file__).parents[2]
AWS = DEPLOY_DIR / "aws"
NOBODY = 10001


def locked(name: str) -> list[str]:
    return re.findall(r"^([\w.-]+)==\S+.*\\\n    --hash=sha256:", (DEPLOY_DIR / name).read_text(), re.MULTILINE)


def test_the_image_holds_what_serving_needs_of_the_dependencies_and_no_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [line for line in (DEPLOY_DIR / "requirements.in").read_text().splitlines() if line and line[0] != "#"]
    offered = {*extras["serve"], *extras["onnx"], *project["dependencies"]}
    assert set(wanted) <= offered
    assert {line for line in (*extras["serve"], *extras["onnx"]) if "cnn_classifier" not in line} <= set(wanted)

    for name in ("requirements.lock", "build.lock"):
        text = (DEPLOY_DIR / name).read_text()
        assert "://" not in text
        assert len(locked(name)) == len(re.findall("==", re.sub(r"(?m)^ *#.*| ;.*", "", text)))
    assert {re.split("[>=]", line)[0] for line in wanted} <= set(locked("requirements.lock"))
    assert not {"torch", "torchvision", "lightning", "hydra-core"} & set(locked("requirements.lock"))
    assert "hatchling" in locked("build.lock")


ONLY = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
allowed = {"cnn_classifier", *sys.stdlib_module_names, *sys.argv.pop(1).split()}
sys.meta_path.insert(0, Nothing())
from cnn_classifier.cli.main import run
run()
"""


def test_the_service_runs_on_the_locked_packages_alone(bundle: Path) -> None:
    names = {name.lower().replace("_", "-") for name in locked("requirements.lock")}
    modules = [
        module
        for module, distributions in packages_distributions().items()
        if names & {distribution.lower().replace("_", "-") for distribution in distributions}
    ]
    with run_service(bundle, command=[sys.executable, "-c", ONLY, " ".join(modules)]) as service:
        answered(service)


def answered(service: ServiceProcess) -> None:
    """It answers a picture, and a form that is too large to be kept in memory by habit."""
    photo = encode_jpeg()
    raw = httpx2.post(f"{service.address}/predict", content=photo, headers={"Content-Type": "image/jpeg"}, timeout=20)
    files = [("images", ("a.jpg", photo)), ("images", ("b.jpg", photo + bytes(3_000_000)))]
    form = httpx2.post(f"{service.address}/predict", files=files, timeout=20)
    assert [raw.status_code, form.status_code] == [200, 200]


@contextmanager
def readable(bundle: Path) -> Iterator[Path]:
    """A copy that everybody may read, and nobody write, in a folder alike."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(bundle, folder / "model")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        folder.chmod(0o755)
        (folder / "model").chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_nobody_can_serve_from_a_folder_that_cannot_be_written(bundle: Path) -> None:
    nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
    try:
        subprocess.run([sys.executable, "-c", "import cnn_classifier"], check=True, capture_output=True, **nobody)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this interpreter is for its owner alone")
    with readable(bundle) as folder:
        nobody |= {"cwd": folder, "env": {"PATH": os.environ["PATH"], "HOME": "/nowhere", "TMPDIR": str(folder)}}
        with run_service(folder / "model", command=COMMAND, **nobody) as service:
            answered(service)
            assert [path.name for path in folder.iterdir()] == ["model"]


def test_the_dockerfile_copies_what_exists_and_is_let_in() -> None:
    lines = (DEPLOY_DIR / "Dockerfile.dockerignore").read_text().split()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    copied = [
        source
        for stage in STAGES.values()
        for words in re.findall(r"^COPY (.*)$", stage, re.MULTILINE)
        if "--from" not in words
        for source in [word for word in words.split() if not word.startswith("--")][:-1]
    ]
    assert len(copied) >= 8
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in let_in), source
    assert list(STAGES)[-1] == "serve"  # what is built unless told otherwise


@pytest.mark.parametrize("stage", ["serve", "lambda"])
def test_the_container_starts_the_service_as_nobody(stage: str) -> None:
    assert get_instruction(stage, "USER") == f"{NOBODY}:{NOBODY}"
    program, *words = json.loads(get_instruction(stage, "ENTRYPOINT")) + json.loads(get_instruction(stage, "CMD"))
    assert program == "cnn-classifier"
    understood = build_parser().parse_args(words)
    assert understood.command is serve_command
    assert (str(understood.model), understood.port) == ("/model", 8080)


def test_sagemaker_says_serve_and_finds_the_service_where_it_looks() -> None:
    assert json.loads(get_instruction("sagemaker", "CMD")) == ["serve"]
    assert "ENTRYPOINT" not in STAGES["sagemaker"] + STAGES["runtime"]
    assert "USER" not in STAGES["sagemaker"] + STAGES["runtime"]  # it wants root
    script = (AWS / "serve").read_text()
    words = shlex.split(script.splitlines()[-1])
    assert words[:2] == ["exec", "cnn-classifier"]
    understood = build_parser().parse_args(words[2:])
    assert (str(understood.model), understood.host, understood.port) == ("/opt/ml/model", "0.0.0.0", 8080)


def test_the_health_check_tells_a_service_from_none(bundle: Path) -> None:
    of_docker = json.loads(get_instruction("runtime", "HEALTHCHECK").partition("CMD ")[2])
    (container,) = json.loads((AWS / "task-definition.json").read_text())["containerDefinitions"]
    assert of_docker == container["healthCheck"]["command"][1:]
    with run_service(bundle) as service:
        command = [sys.executable, "-c", of_docker[-1].replace("8080", str(service.port))]
        assert subprocess.run(command, check=False).returncode == 0
        service.process.kill()
        service.process.wait()
        assert subprocess.run(command, check=False, capture_output=True).returncode == 1
