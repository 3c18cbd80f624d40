"""Tests of the memory of training steps: what is available, and the batches that fit into it."""

import sys
from pathlib import Path

import pytest
import torch
from helpers.folders import MakeFolder
from torch import nn

from cnn_classifier.auto import memory
from cnn_classifier.auto.memory import Trial, available_bytes, fit_batch_size, measure_bytes_per_image
from cnn_classifier.auto.resolve import resolve_auto
from cnn_classifier.auto.step_timer import StepTimer
from cnn_classifier.config.compose import load_config
from cnn_classifier.data.sources.folder import scan_root

CPU = torch.device("cpu")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a simulated `/proc` of 8 GB and `/sys/fs/cgroup` without limits."""
    monkeypatch.setattr(memory, "PROC_DIR", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUP_DIR", tmp_path / "cgroup")
    write(tmp_path / "proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_available_memory_without_limits_is_that_of_the_system(system: Path) -> None:
    assert available_bytes(CPU) == 8_000_000 * 1024
    write(system / "proc/self/cgroup", "0::/user\n")
    write(system / "cgroup/user/memory.max", "max\n")
    assert available_bytes(CPU) == 8_000_000 * 1024


def test_limit_of_a_parent_cgroup_v2_reduces_the_available_memory(system: Path) -> None:
    write(system / "proc/self/cgroup", "0::/pod/app\n")
    write(system / "cgroup/pod/app/memory.max", "max\n")
    write(system / "cgroup/pod/memory.max", "2000000000\n")
    write(system / "cgroup/pod/memory.stat", "anon 500000000\nfile 900000000\n")
    assert available_bytes(CPU) == 1.5e9


def test_limit_of_a_container_cgroup_v1_reduces_the_available_memory(system: Path) -> None:
    write(system / "proc/self/cgroup", "9:cpu:/docker/1\n4:memory:/docker/1\n")
    write(system / "cgroup/memory/memory.limit_in_bytes", "3000000000\n")  # the path is that of the host
    write(system / "cgroup/memory/memory.stat", "cache 1\ntotal_rss 1000000000\n")
    assert available_bytes(CPU) == 2e9


@pytest.mark.skipif(sys.platform == "win32", reason="address-space limits")
def test_ulimit_reduces_the_available_memory(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    write(system / "proc/self/status", "Name: python\nVmSize:\t 1000000 kB\n")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (4 * 1024**3, 4 * 1024**3))
    assert available_bytes(CPU) == 4 * 1024**3 - 1_000_000 * 1024


def test_bytes_per_image_are_the_activations_that_are_kept_and_the_largest_outputs() -> None:
    activations = [nn.Sigmoid() for _ in range(7)]
    network = nn.Sequential(nn.Conv2d(3, 4, 1), *activations, nn.Flatten(), nn.Linear(4 * 16, 2))
    # Of float32: the input of the convolution, and the outputs of the sigmoids, the last of which the linear layer
    # shares; two more outputs with 4 channels in the backward pass.
    assert measure_bytes_per_image(network, (3, 4, 4), torch.float32) == (3 + 7 * 4 + 2 * 4) * 16 * 4
    network.requires_grad_(False)
    assert measure_bytes_per_image(network, (3, 4, 4), torch.float32) == 8 * 4 * 16 * 4


@pytest.mark.parametrize(
    ("batch_size", "megabytes", "expected"), [(64, 15, 64), (64, 16, 32), (64, 90, 16), (64, 100, 8), (3, 1000, 3)]
)
def test_batch_is_halved_until_it_fits_but_small_batches_are_avoided(
    system: Path, batch_size: int, megabytes: int, expected: int
) -> None:
    assert fit_batch_size(batch_size, megabytes * 1e6, CPU) == expected


def test_batches_of_a_network_without_batch_statistics_are_small(system: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 256, 1), *(nn.Sigmoid() for _ in range(20)), nn.Flatten(), nn.Linear(256 * 64 * 64, 2)
    )
    trial = Trial(network, CPU, (3, 64, 64))
    assert trial.fit_batch_size(64, "32-true") == 16
    network.freeze_norm = True  # type: ignore[assignment]
    assert trial.fit_batch_size(64, "32-true") == 8


def test_step_takes_at_most_half_of_the_available_memory(system: Path) -> None:
    write(system / "proc/meminfo", "MemAvailable: 600000 kB\n")
    assert fit_batch_size(64, 20e6, CPU) == 8


def test_batch_that_exceeds_the_memory_is_accumulated_and_the_step_is_unchanged(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = scan_root(make_folder({"cats": 20, "dogs": 20}, size=64))  # 28 images to train on: batches of 16
    overrides = ["dataset=folder", "dataset.root=photos", "trainer.max_epochs=2", "model=resnet"]
    whole, parts, fixed = (
        load_config([*overrides, *extra], run_dir="run") for extra in ([], [], ["dataset.batch_size=16"])
    )
    resolve_auto(whole, index)
    timed: list[int] = []
    monkeypatch.setattr(memory, "MAX_CPU_STEP_BYTES", 5e6)
    monkeypatch.setattr(StepTimer, "measure", lambda self, *_, **__: timed.append(self.batch_shape[0]) or 0.02)
    lines = "\n".join(resolve_auto(parts, index).reasons)

    assert (whole.dataset.batch_size, whole.trainer.accumulate_grad_batches) == (16, 1)
    assert (parts.dataset.batch_size, parts.trainer.accumulate_grad_batches) == (4, 4)
    assert "dataset.batch_size=4 (16 images of 64 px would take" in lines
    assert lines.count("dataset.batch_size=") == 1
    assert "trainer.accumulate_grad_batches=4 (training steps use 16 images)" in lines
    assert (parts.optimizer.lr, parts.callbacks.ema.decay) == (whole.optimizer.lr, whole.callbacks.ema.decay)
    resolve_auto(fixed, index)  # what the user sets is unchanged, but a trial must not exhaust the memory
    assert (fixed.dataset.batch_size, fixed.trainer.accumulate_grad_batches) == (16, 1)
