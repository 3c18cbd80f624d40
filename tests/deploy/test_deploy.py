"""Consistency of the Dockerfile, lock files and entry points in `deploy/` with the package."""

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
USER_ID = 10001


def locked_packages(name: str) -> list[str]:
    """Return the names of the packages in a lock file."""
    return re.findall(r"^([\w.-]+)==\S+.*\\\n    --hash=sha256:", (DEPLOY_DIR / name).read_text(), re.MULTILINE)


def test_requirements_match_pyproject_and_exclude_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = [line for line in (DEPLOY_DIR / "requirements.in").read_text().splitlines() if line and line[0] != "#"]
    declared = {*extras["serve"], *extras["onnx"], *project["dependencies"]}
    assert set(required) <= declared
    assert {line for line in (*extras["serve"], *extras["onnx"]) if "cnn_classifier" not in line} <= set(required)

    for name in ("requirements.lock", "build.lock"):
        text = (DEPLOY_DIR / name).read_text()
        assert "://" not in text
        assert len(locked_packages(name)) == len(re.findall("==", re.sub(r"(?m)^ *#.*| ;.*", "", text)))
    assert {re.split("[>=]", line)[0] for line in required} <= set(locked_packages("requirements.lock"))
    assert not {"torch", "torchvision", "lightning", "hydra-core"} & set(locked_packages("requirements.lock"))
    assert "hatchling" in locked_packages("build.lock")


RESTRICTED_PROGRAM = """
import sys
class ImportBlocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
allowed = {"cnn_classifier", *sys.stdlib_module_names, *sys.argv.pop(1).split()}
sys.meta_path.insert(0, ImportBlocker())
from cnn_classifier.cli.main import main
sys.exit(main())
"""


def test_service_runs_with_locked_packages_only(bundle: Path) -> None:
    names = {name.lower().replace("_", "-") for name in locked_packages("requirements.lock")}
    modules = [
        module
        for module, distributions in packages_distributions().items()
        if names & {distribution.lower().replace("_", "-") for distribution in distributions}
    ]
    with run_service(bundle, command=[sys.executable, "-c", RESTRICTED_PROGRAM, " ".join(modules)]) as service:
        assert_predicts(service)


def assert_predicts(service: ServiceProcess) -> None:
    """Assert that the service handles an image and a form larger than the default spool size of a parser."""
    photo = encode_jpeg()
    raw = httpx2.post(f"{service.address}/predict", content=photo, headers={"Content-Type": "image/jpeg"}, timeout=20)
    files = [("images", ("a.jpg", photo)), ("images", ("b.jpg", photo + bytes(3_000_000)))]
    form = httpx2.post(f"{service.address}/predict", files=files, timeout=20)
    assert [raw.status_code, form.status_code] == [200, 200]


@contextmanager
def read_only_copy(bundle: Path) -> Iterator[Path]:
    """Yield a read-only folder with a copy of the bundle, readable by all users."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(bundle, folder / "model")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        folder.chmod(0o755)
        (folder / "model").chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="requires root")
def test_unprivileged_user_can_serve_from_read_only_folder(bundle: Path) -> None:
    popen_kwargs: dict[str, Any] = {"user": USER_ID, "group": USER_ID, "extra_groups": [], "cwd": "/"}
    try:
        subprocess.run([sys.executable, "-c", "import cnn_classifier"], check=True, capture_output=True, **popen_kwargs)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this interpreter is not readable by other users")
    with read_only_copy(bundle) as folder:
        popen_kwargs |= {"cwd": folder, "env": {"PATH": os.environ["PATH"], "HOME": "/nowhere", "TMPDIR": str(folder)}}
        with run_service(folder / "model", command=COMMAND, **popen_kwargs) as service:
            assert_predicts(service)
            assert [path.name for path in folder.iterdir()] == ["model"]


def test_copied_files_exist_and_are_not_ignored() -> None:
    lines = (DEPLOY_DIR / "Dockerfile.dockerignore").read_text().split()
    included = [line[1:] for line in lines if line.startswith("!")]
    copied = [
        source
        for stage in STAGES.values()
        for arguments in re.findall(r"^COPY (.*)$", stage, re.MULTILINE)
        if "--from" not in arguments
        for source in [argument for argument in arguments.split() if not argument.startswith("--")][:-1]
    ]
    assert len(copied) >= 8
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in included), source
    assert list(STAGES)[-1] == "serve"  # the default target


@pytest.mark.parametrize("stage", ["serve", "lambda"])
def test_container_runs_service_as_unprivileged_user(stage: str) -> None:
    assert get_instruction(stage, "USER") == f"{USER_ID}:{USER_ID}"
    program, *arguments = json.loads(get_instruction(stage, "ENTRYPOINT")) + json.loads(get_instruction(stage, "CMD"))
    assert program == "cnn-classifier"
    parsed = build_parser().parse_args(arguments)
    assert parsed.command is serve_command
    assert (str(parsed.model), parsed.port) == ("/model", 8080)


def test_sagemaker_entry_point_serves_the_mounted_model() -> None:
    assert json.loads(get_instruction("sagemaker", "CMD")) == ["serve"]
    assert "ENTRYPOINT" not in STAGES["sagemaker"] + STAGES["runtime"]
    assert "USER" not in STAGES["sagemaker"] + STAGES["runtime"]  # SageMaker requires root
    script = (AWS / "serve").read_text()
    command = shlex.split(script.splitlines()[-1])
    assert command[:2] == ["exec", "cnn-classifier"]
    parsed = build_parser().parse_args(command[2:])
    assert (str(parsed.model), parsed.host, parsed.port) == ("/opt/ml/model", "0.0.0.0", 8080)


def test_health_check_detects_whether_service_runs(bundle: Path) -> None:
    docker_command = json.loads(get_instruction("runtime", "HEALTHCHECK").partition("CMD ")[2])
    (container,) = json.loads((AWS / "task-definition.json").read_text())["containerDefinitions"]
    assert docker_command == container["healthCheck"]["command"][1:]
    with run_service(bundle) as service:
        command = [sys.executable, "-c", docker_command[-1].replace("8080", str(service.port))]
        assert subprocess.run(command, check=False).returncode == 0
        service.process.kill()
        service.process.wait()
        assert subprocess.run(command, check=False, capture_output=True).returncode == 1
