"""Checks of the machine: versions, extras, devices, precision and disks."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cnn_classifier import __version__
from cnn_classifier.errors import ClassifierError, install_command
from cnn_classifier.files import atomic_write, cache_dir, ensure_writable_dir

OK, NOTE, WRONG = "ok", "note", "wrong"
GIB = 2**30
# GiB; the decoded images and checkpoints of a run on a few thousand photos may not fit into less.
MIN_FREE_GIB = 2.0
DEFAULT_SHM_GIB = 0.06  # GiB; the default of containers is 64 MiB
# Compromised releases, which must not be imported: GHSA-w37p-236h-pfx3.
MALICIOUS_VERSIONS = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Args:
        subject: The name of what was checked.
        detail: The state that was detected.
        verdict: The outcome: `ok`, `note` (works, but can be improved) or `wrong` (training will fail).
        hint: The recommended fix, or an empty string.
    """

    subject: str
    detail: str
    verdict: str = OK
    hint: str = ""


def run_checks() -> Iterator[CheckResult]:
    """Run all checks, in the order in which training needs what they check."""
    checks: list[Callable[[], Iterator[CheckResult]]] = [
        check_python, check_packages, check_extras,
        check_cpu, check_accelerator, check_precision, check_shared_memory, check_disks,
    ]  # fmt: skip
    for check in checks:
        yield from check()


def get_requirements(extra: str = "") -> list[Requirement]:
    """Return the requirements of the base install on this platform, or those of an extra."""
    requirements = [Requirement(text) for text in distribution("cnn_classifier").requires or []]
    return [r for r in requirements if (r.marker.evaluate({"extra": extra}) if r.marker else not extra)]


def check_python() -> Iterator[CheckResult]:
    """Check the version of Python."""
    specifier = SpecifierSet(distribution("cnn_classifier").metadata["Requires-Python"])
    detail = f"{platform.python_version()} on {platform.platform()}, cnn_classifier {__version__}"
    is_supported = specifier.contains(platform.python_version(), prereleases=True)
    yield CheckResult("Python", detail, *(() if is_supported else (WRONG, f"use Python {specifier}")))


def check_packages() -> Iterator[CheckResult]:
    """Check for compromised releases and for required packages with an unsupported version."""
    for name, releases in MALICIOUS_VERSIONS.items():
        if get_version(name) in releases:
            yield CheckResult(
                name, f"{get_version(name)}, a compromised release with malware", WRONG,
                "uninstall it, rotate all credentials on this machine, then: pip install 'lightning>=2.6.6'",
            )  # fmt: skip
    required = get_requirements()
    unsatisfied = [
        package
        for package in required
        if not is_satisfied(package) and get_version(package.name) not in MALICIOUS_VERSIONS.get(package.name, ())
    ]
    for package in unsatisfied:
        installed_version = get_version(package.name) or "not installed"
        yield CheckResult(package.name, installed_version, WRONG, f"pip install '{package.name}{package.specifier}'")
    versions = [f"{name} {get_version(name)}" for name in ("torch", "torchvision", "lightning", "hydra-core", "pillow")]
    yield CheckResult(
        "packages", f"{len(required) - len(unsatisfied)} of {len(required)} supported: {', '.join(versions)}"
    )


def check_extras() -> Iterator[CheckResult]:
    """List the installed extras and those that can be added."""
    names = [name for name in distribution("cnn_classifier").metadata.get_all("Provides-Extra") or [] if name != "dev"]
    missing = [name for name in names if not all(map(is_satisfied, get_requirements(extra=name)))]
    installed = [name for name in names if name not in missing]
    detail = f"{', '.join(installed) or 'none'}; not installed: {', '.join(missing) or 'none'}"
    hint = f"{install_command(missing[0])}, for example" if missing else ""
    yield CheckResult("extras", detail, OK, hint)


def check_cpu() -> Iterator[CheckResult]:
    """Check that torch uses as many threads as this process has cores."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    detail = f"{cores} cores, {threads} threads, {torch.backends.cpu.get_cpu_capability()}"
    if threads > cores:
        hint = f"set OMP_NUM_THREADS={cores}: more threads than cores are slower"
        yield CheckResult("CPU", detail, NOTE, hint)
    elif 2 * threads < cores and "OMP_NUM_THREADS" in os.environ:
        yield CheckResult("CPU", detail, NOTE, "unset OMP_NUM_THREADS to use all cores")
    else:
        yield CheckResult("CPU", detail)


def check_accelerator() -> Iterator[CheckResult]:
    """Check for a GPU and its free memory."""
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        free, total = torch.cuda.mem_get_info()
        detail = f"{', '.join(names)}; {free / GIB:.1f} of {total / GIB:.1f} GiB free on the first"
        busy = free < total / 2
        yield CheckResult(
            "accelerator", detail, NOTE if busy else OK, "nvidia-smi lists the processes that use it" if busy else ""
        )
    elif torch.accelerator.is_available():
        yield CheckResult("accelerator", str(torch.accelerator.current_accelerator()))
    elif shutil.which("nvidia-smi"):
        hint = f"torch was built for CUDA {torch.version.cuda}: update the driver, or install a matching torch"
        yield CheckResult("accelerator", "a GPU that torch cannot use", NOTE, hint)
    else:
        yield CheckResult("accelerator", "none; training runs on the CPU")


def check_precision() -> Iterator[CheckResult]:
    """List the precisions that are timed at the start of training, and check for a C++ compiler."""
    import torch

    from cnn_classifier.auto.execution import list_candidates
    from cnn_classifier.training.devices import resolve_device

    device = resolve_device("auto")
    auto_config = {"precision": "auto", "memory_format": "auto", "compile": "auto"}
    precisions = dict.fromkeys(choice.precision for choice in list_candidates(auto_config, device))
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")
    detail = f"{', '.join(precisions)} on {device.type}; {'can' if compiler else 'cannot'} compile"
    hint = (
        ""
        if compiler
        else "install a C++ compiler: torch.compile can speed up training that takes more than 20 minutes"
    )
    yield CheckResult("precision", detail, OK if compiler or torch.cuda.is_available() else NOTE, hint)


def check_shared_memory() -> Iterator[CheckResult]:
    """Check the size of /dev/shm, which multi-process training needs."""
    folder = Path("/dev/shm")
    if folder.is_dir():
        size = shutil.disk_usage(folder).total / GIB
        is_small = size <= DEFAULT_SHM_GIB + 0.005
        hint = "start the container with --shm-size=1g for multi-process training" if is_small else ""
        yield CheckResult("shared memory", f"{size:.2f} GiB", NOTE if is_small else OK, hint)


def check_disks() -> Iterator[CheckResult]:
    """Check the cache directory and the output directory."""
    yield from check_directory("cache", cache_dir(), "set CNN_CLASSIFIER_HOME to a folder on a larger disk")
    yield from check_directory("outputs", Path("outputs"), "change the working directory, or set run_dir=PATH")


def check_directory(subject: str, folder: Path, hint: str) -> Iterator[CheckResult]:
    """Check that a directory is writable and has enough free space."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(dir=ensure_writable_dir(existing)) as temp_dir:
            atomic_write(Path(temp_dir, "file"), b"x")
    except (ClassifierError, OSError) as error:
        yield CheckResult(subject, f"{folder}: {error}", WRONG, hint)
        return
    free = shutil.disk_usage(existing).free / GIB
    yield CheckResult(subject, f"{folder}: {free:.1f} GiB free", *((NOTE, hint) if free < MIN_FREE_GIB else ()))


def get_version(name: str) -> str:
    """Return the version of a package, or an empty string if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def is_satisfied(requirement: Requirement) -> bool:
    """Return whether a supported version of the package is installed."""
    return bool(get_version(requirement.name)) and requirement.specifier.contains(
        get_version(requirement.name), prereleases=True
    )
