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
from cnn_classifier.storage import cache_home, make_folder, write_whole

OK, NOTE, WRONG = "ok", "note", "wrong"
GIB = 2**30
ROOM = 2.0  # GiB for decoded images and checkpoints, below which a run of some thousand photos may end in the middle
SHARED_MEMORY = 0.06  # GiB; containers have 64 MiB unless told otherwise
# Releases that must not be imported: GHSA-w37p-236h-pfx3.
MALWARE = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        subject: Its name.
        found: What is there.
        verdict: `ok`, `note` (it works, but could be better) or `wrong` (a training will fail).
        fix: What to do about it.
    """

    subject: str
    found: str
    verdict: str = OK
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Everything, in the order in which a training needs it."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        python, packages, extras, processor, accelerator, precision, shared_memory, cache, outputs,
    ]  # fmt: skip
    for check in checks:
        yield from check()


def requirements() -> list[Requirement]:
    return [Requirement(text) for text in distribution("cnn_classifier").requires or []]


def python() -> Iterator[Finding]:
    asked = SpecifierSet(distribution("cnn_classifier").metadata["Requires-Python"])
    found = f"{platform.python_version()} on {platform.platform()}, cnn_classifier {__version__}"
    good = asked.contains(platform.python_version(), prereleases=True)
    yield Finding("Python", found) if good else Finding("Python", found, WRONG, f"use Python {asked}")


def packages() -> Iterator[Finding]:
    """Those that the main job needs, and releases that must not be there."""
    for name, releases in MALWARE.items():
        if installed(name) in releases:
            yield Finding(
                name, f"{installed(name)}, which is malware", WRONG,
                "remove it, change every password and key this machine knows, then: pip install 'lightning>=2.6.6'",
            )  # fmt: skip
    needed = [
        requirement for requirement in requirements() if not (requirement.marker and "extra" in str(requirement.marker))
    ]
    unfit = [part for part in needed if not fits(part) and installed(part.name) not in MALWARE.get(part.name, ())]
    for requirement in unfit:
        found = installed(requirement.name) or "not installed"
        yield Finding(requirement.name, found, WRONG, f"pip install '{requirement.name}{requirement.specifier}'")
    shown = [f"{name} {installed(name)}" for name in ("torch", "torchvision", "lightning", "hydra-core", "pillow")]
    yield Finding("packages", f"{len(needed) - len(unfit)} of {len(needed)} fit: {', '.join(shown)}")


def extras() -> Iterator[Finding]:
    """What can be added."""
    names = [name for name in distribution("cnn_classifier").metadata.get_all("Provides-Extra") or [] if name != "dev"]
    having = []
    for name in names:
        parts = [
            r for r in requirements() if r.marker and r.marker.evaluate({"extra": name}) and r.name != "cnn_classifier"
        ]
        if all(fits(part) for part in parts):
            having.append(name)
    missing = [name for name in names if name not in having]
    told = f"{', '.join(having) or 'none'}; not installed: {', '.join(missing) or 'none'}"
    yield Finding("extras", told, OK, f"pip install 'cnn_classifier[{missing[0]}]', for example" if missing else "")


def processor() -> Iterator[Finding]:
    """Cores that this process may use, and whether torch uses them."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    found = f"{cores} cores, {threads} threads, {torch.backends.cpu.get_cpu_capability()}"
    if threads > cores:
        fix = f"set OMP_NUM_THREADS={cores}: threads that share a core wait for each other"
        yield Finding("processor", found, NOTE, fix)
    elif 2 * threads < cores and "OMP_NUM_THREADS" in os.environ:
        yield Finding("processor", found, NOTE, "unset OMP_NUM_THREADS to use all cores")
    else:
        yield Finding("processor", found)


def accelerator() -> Iterator[Finding]:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        free, total = torch.cuda.mem_get_info()
        found = f"{', '.join(names)}; {free / GIB:.1f} of {total / GIB:.1f} GiB free on the first"
        busy = free < total / 2
        yield Finding("accelerator", found, NOTE if busy else OK, "see nvidia-smi for who uses it" if busy else "")
    elif torch.accelerator.is_available():
        yield Finding("accelerator", str(torch.accelerator.current_accelerator()))
    elif shutil.which("nvidia-smi"):
        fix = f"torch was built for CUDA {torch.version.cuda}: update the driver, or install the torch that fits it"
        yield Finding("accelerator", "there is a GPU that torch cannot use", NOTE, fix)
    else:
        yield Finding("accelerator", "none; trainings run on the CPU")


def precision() -> Iterator[Finding]:
    """What the trial at the start of a training may choose from."""
    import torch

    from cnn_classifier.hardware import device_of, open_choices

    device = device_of("auto")
    asked = {"precision": "auto", "layout": "auto", "compile": "auto"}
    names = dict.fromkeys(choice.precision for choice in open_choices(asked, device))
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")
    found = f"{', '.join(names)} on {device.type}; {'can' if compiler else 'cannot'} compile"
    fix = "" if compiler else "install a C++ compiler: trainings of 20 minutes and more may gain from it"
    yield Finding("precision", found, OK if compiler or torch.cuda.is_available() else NOTE, fix)


def shared_memory() -> Iterator[Finding]:
    """Our own batches need none; several processes of one training talk through it."""
    folder = Path("/dev/shm")
    if folder.is_dir():
        size = shutil.disk_usage(folder).total / GIB
        small = size <= SHARED_MEMORY + 0.005
        fix = "start the container with --shm-size=1g before you train in several processes" if small else ""
        yield Finding("shared memory", f"{size:.2f} GiB", NOTE if small else OK, fix)


def cache() -> Iterator[Finding]:
    """Where decoded images are kept."""
    yield from place("cache", cache_home(), "set CNN_CLASSIFIER_HOME to a folder on a larger disk")


def outputs() -> Iterator[Finding]:
    """Where runs go."""
    yield from place("outputs", Path("outputs"), "start elsewhere, or set run_dir=PATH")


def place(subject: str, folder: Path, fix: str) -> Iterator[Finding]:
    """Whether a folder can be written, and how much fits."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(dir=make_folder(existing)) as trial:
            write_whole(Path(trial, "file"), b"x")
    except (ClassifierError, OSError) as error:
        yield Finding(subject, f"{folder}: {error}", WRONG, fix)
        return
    free = shutil.disk_usage(existing).free / GIB
    yield Finding(subject, f"{folder}: {free:.1f} GiB free", OK if free >= ROOM else NOTE, "" if free >= ROOM else fix)


def installed(name: str) -> str:
    """A package's version; empty if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def fits(requirement: Requirement) -> bool:
    return bool(installed(requirement.name)) and requirement.specifier.contains(
        installed(requirement.name), prereleases=True
    )
