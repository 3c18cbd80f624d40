"""Look at a machine before it trains: what is there, whether it will do, and what to do if not."""

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
from cnn_classifier.errors import ClassifierError
from cnn_classifier.files import atomic_write, cache_dir, ensure_writable_dir

OK, NOTE, WRONG = "ok", "note", "wrong"
GIB = 2**30
MIN_FREE_GIB = (
    2.0  # GiB for decoded images and checkpoints, below which a run of some thousand photos may end in the middle
)
DEFAULT_SHM_GIB = 0.06  # GiB; containers have 64 MiB unless told otherwise
# Releases that must not be imported: GHSA-w37p-236h-pfx3.
MALICIOUS_VERSIONS = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}


@dataclass(frozen=True)
class CheckResult:
    """One thing that was looked at.

    Args:
        subject: Its name.
        found: What is there.
        verdict: `ok`, `note` (it works, but could be better) or `wrong` (a training will fail).
        fix: What to do about it.
    """

    subject: str
    detail: str
    verdict: str = OK
    hint: str = ""


def run_checks() -> Iterator[CheckResult]:
    """Everything, in the order in which a training needs it."""
    checks: list[Callable[[], Iterator[CheckResult]]] = [
        check_python, check_packages, check_extras, check_processor, check_accelerator, check_precision, check_shared_memory, check_cache, check_outputs,
    ]  # fmt: skip
    for check in checks:
        yield from check()


def get_requirements() -> list[Requirement]:
    return [Requirement(text) for text in distribution("cnn_classifier").requires or []]


def check_python() -> Iterator[CheckResult]:
    specifier = SpecifierSet(distribution("cnn_classifier").metadata["Requires-Python"])
    detail = f"{platform.python_version()} on {platform.platform()}, cnn_classifier {__version__}"
    is_supported = specifier.contains(platform.python_version(), prereleases=True)
    yield (
        CheckResult("Python", detail)
        if is_supported
        else CheckResult("Python", detail, WRONG, f"use Python {specifier}")
    )


def check_packages() -> Iterator[CheckResult]:
    """Those that the main job needs, and releases that must not be there."""
    for name, releases in MALICIOUS_VERSIONS.items():
        if get_version(name) in releases:
            yield CheckResult(
                name, f"{get_version(name)}, which is malware", WRONG,
                "remove it, change every password and key this machine knows, then: pip install 'lightning>=2.6.6'",
            )  # fmt: skip
    required = [
        requirement
        for requirement in get_requirements()
        if not (requirement.marker and "extra" in str(requirement.marker))
    ]
    unsatisfied = [
        package
        for package in required
        if not is_satisfied(package) and get_version(package.name) not in MALICIOUS_VERSIONS.get(package.name, ())
    ]
    for requirement in unsatisfied:
        installed_version = get_version(requirement.name) or "not installed"
        yield CheckResult(
            requirement.name, installed_version, WRONG, f"pip install '{requirement.name}{requirement.specifier}'"
        )
    versions = [f"{name} {get_version(name)}" for name in ("torch", "torchvision", "lightning", "hydra-core", "pillow")]
    yield CheckResult("packages", f"{len(required) - len(unsatisfied)} of {len(required)} fit: {', '.join(versions)}")


def check_extras() -> Iterator[CheckResult]:
    """What can be added."""
    names = [name for name in distribution("cnn_classifier").metadata.get_all("Provides-Extra") or [] if name != "dev"]
    available = []
    for name in names:
        extra_requirements = [
            r
            for r in get_requirements()
            if r.marker and r.marker.evaluate({"extra": name}) and r.name != "cnn_classifier"
        ]
        if all(is_satisfied(requirement) for requirement in extra_requirements):
            available.append(name)
    missing = [name for name in names if name not in available]
    detail = f"{', '.join(available) or 'none'}; not installed: {', '.join(missing) or 'none'}"
    yield CheckResult(
        "extras", detail, OK, f"pip install 'cnn_classifier[{missing[0]}]', for example" if missing else ""
    )


def check_processor() -> Iterator[CheckResult]:
    """Cores that this process may use, and whether torch uses them."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    detail = f"{cores} cores, {threads} threads, {torch.backends.cpu.get_cpu_capability()}"
    if threads > cores:
        hint = f"set OMP_NUM_THREADS={cores}: threads that share a core wait for each other"
        yield CheckResult("processor", detail, NOTE, hint)
    elif 2 * threads < cores and "OMP_NUM_THREADS" in os.environ:
        yield CheckResult("processor", detail, NOTE, "unset OMP_NUM_THREADS to use all cores")
    else:
        yield CheckResult("processor", detail)


def check_accelerator() -> Iterator[CheckResult]:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        free, total = torch.cuda.mem_get_info()
        detail = f"{', '.join(names)}; {free / GIB:.1f} of {total / GIB:.1f} GiB free on the first"
        busy = free < total / 2
        yield CheckResult("accelerator", detail, NOTE if busy else OK, "see nvidia-smi for who uses it" if busy else "")
    elif torch.accelerator.is_available():
        yield CheckResult("accelerator", str(torch.accelerator.current_accelerator()))
    elif shutil.which("nvidia-smi"):
        hint = f"torch was built for CUDA {torch.version.cuda}: update the driver, or install the torch that fits it"
        yield CheckResult("accelerator", "there is a GPU that torch cannot use", NOTE, hint)
    else:
        yield CheckResult("accelerator", "none; trainings run on the CPU")


def check_precision() -> Iterator[CheckResult]:
    """What the trial at the start of a training may choose from."""
    import torch

    from cnn_classifier.auto.execution import list_candidates
    from cnn_classifier.training.devices import resolve_device

    device = resolve_device("auto")
    trainer_config = {"precision": "auto", "memory_format": "auto", "compile": "auto"}
    precisions = dict.fromkeys(choice.precision for choice in list_candidates(trainer_config, device))
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")
    detail = f"{', '.join(precisions)} on {device.type}; {'can' if compiler else 'cannot'} compile"
    hint = "" if compiler else "install a C++ compiler: trainings of 20 minutes and more may gain from it"
    yield CheckResult("precision", detail, OK if compiler or torch.cuda.is_available() else NOTE, hint)


def check_shared_memory() -> Iterator[CheckResult]:
    """Our own batches need none; several processes of one training talk through it."""
    folder = Path("/dev/shm")
    if folder.is_dir():
        size = shutil.disk_usage(folder).total / GIB
        is_small = size <= DEFAULT_SHM_GIB + 0.005
        hint = "start the container with --shm-size=1g before you train in several processes" if is_small else ""
        yield CheckResult("shared memory", f"{size:.2f} GiB", NOTE if is_small else OK, hint)


def check_cache() -> Iterator[CheckResult]:
    """Where decoded images are kept."""
    yield from check_directory("cache", cache_dir(), "set CNN_CLASSIFIER_HOME to a folder on a larger disk")


def check_outputs() -> Iterator[CheckResult]:
    """Where runs go."""
    yield from check_directory("outputs", Path("outputs"), "start elsewhere, or set run_dir=PATH")


def check_directory(subject: str, folder: Path, hint: str) -> Iterator[CheckResult]:
    """Whether a folder can be written, and how much fits."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(dir=ensure_writable_dir(existing)) as temp_dir:
            atomic_write(Path(temp_dir, "file"), b"x")
    except (ClassifierError, OSError) as error:
        yield CheckResult(subject, f"{folder}: {error}", WRONG, hint)
        return
    free = shutil.disk_usage(existing).free / GIB
    yield CheckResult(
        subject,
        f"{folder}: {free:.1f} GiB free",
        OK if free >= MIN_FREE_GIB else NOTE,
        "" if free >= MIN_FREE_GIB else hint,
    )


def get_version(name: str) -> str:
    """A package's version; empty if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def is_satisfied(requirement: Requirement) -> bool:
    return bool(get_version(requirement.name)) and requirement.specifier.contains(
        get_version(requirement.name), prereleases=True
    )
