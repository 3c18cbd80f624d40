"""The memory of training steps: what is available, what an image takes, and the number of images that fits."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from cnn_classifier.auto.resolved import ResolvedValue
from cnn_classifier.auto.step_timer import PRECISIONS
from cnn_classifier.config.instantiate import instantiate_model
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.training.devices import resolve_device

# On a CPU, the speed does not depend on the batch size (EfficientNet-Lite0 in bfloat16 at 224 px: 19, 18, 21 and 21
# images/s with 8, 16, 32 and 64 images), but 64 images take 2.8 GB, and 5.2 GB in float32. Batches below
# `SMALL_BATCH_SIZE` make the statistics of batch norms noisy, and are used only if the memory requires it.
CPU_STEP_BYTES, MAX_CPU_STEP_BYTES = 1e9, 1.5e9
AVAILABLE_FRACTION = 0.5  # the rest is for weights, pixels, other processes and fragmentation
SMALL_BATCH_SIZE, MIN_BATCH_SIZE = 16, 4
# The memory of a pass without gradients, in layer outputs of the largest size (measured; most of it is fragmentation).
FORWARD_OUTPUTS, BACKWARD_OUTPUTS = 8, 2
CGROUP_DIR, PROC_DIR = Path("/sys/fs/cgroup"), Path("/proc")


def measure_bytes_per_image(network: nn.Module, image_shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    """Measure the memory that a training step takes for an image, on two random images.

    It consists of the activations that are kept for the backward pass and of a few outputs of the largest layer. The
    peak of a step of 16 to 128 images differs from it by at most a tenth (EfficientNet-Lite0, ResNet).

    Args:
        network: The network, in training mode.
        image_shape: The shape of an image, (C, H, W).
        dtype: The data type of autocast; float32 disables it.
    """
    weights = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}
    outputs = [0]

    def record(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def record_output(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.append(output.nbytes)

    device = next(network.parameters()).device
    images = torch.rand(2, *image_shape, device=device)
    with (
        register_module_forward_hook(record_output),
        torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor),
        torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32),
    ):
        logits = network(images)  # kept until all sizes are known, so that no address is used twice
    del logits
    backward_bytes = sum(kept.values()) + BACKWARD_OUTPUTS * max(outputs)
    return max(backward_bytes, FORWARD_OUTPUTS * max(outputs)) / len(images)


def available_bytes(device: torch.device) -> float:
    """Return the memory that is available on a device, infinite if the system does not tell."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return min([*free_system_bytes(), *free_cgroup_bytes(), *free_address_space()], default=inf)


def free_system_bytes() -> Iterator[float]:
    """Yield the memory that is available without swapping, on Linux."""
    if kilobytes := read_number(PROC_DIR / "meminfo", r"^MemAvailable:\s+(\d+)"):
        yield kilobytes * 1024


def free_cgroup_bytes() -> Iterator[float]:
    """Yield what the control groups of this process leave (version 1 and 2); cached files count as free."""
    with suppress(OSError):
        for line in (PROC_DIR / "self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            version_1 = "memory" in controllers.split(",")
            if controllers and not version_1:
                continue
            root = CGROUP_DIR / "memory" if version_1 else CGROUP_DIR
            limit_name, used_name = ("memory.limit_in_bytes", "total_rss") if version_1 else ("memory.max", "anon")
            # The limit of a parent applies, too. In a container, the path may not exist, but its root does.
            folder = root / path.lstrip("/")
            for group in (folder, *(parent for parent in folder.parents if parent.is_relative_to(root))):
                limit = read_number(group / limit_name, r"^(\d+)$")
                if limit is not None:
                    yield limit - (read_number(group / "memory.stat", rf"^{used_name} (\d+)$") or 0)


def free_address_space() -> Iterator[float]:
    """Yield what `ulimit -v` leaves."""
    if sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - (read_number(PROC_DIR / "self/status", r"^VmSize:\s+(\d+)") or 0) * 1024


def read_number(path: Path, pattern: str) -> int | None:
    """Return the number in the line of a file that matches a pattern, None if there is none."""
    with suppress(OSError):
        match = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
        return int(match[1]) if match else None
    return None


def fit_batch_size(
    batch_size: int, bytes_per_image: float, device: torch.device, small_size: int = SMALL_BATCH_SIZE
) -> int:
    """Return the number of images whose training step fits into the memory: the batch size, halved if necessary.

    Args:
        batch_size: The batch size.
        bytes_per_image: The memory that a training step takes for an image, in bytes.
        device: The device of the training.
        small_size: The batch size that is preferred to a lower use of memory, but not to an excessive one.
    """
    limit = AVAILABLE_FRACTION * available_bytes(device)
    wanted_limit = limit
    if device.type == "cpu":
        limit, wanted_limit = min(limit, MAX_CPU_STEP_BYTES), min(limit, CPU_STEP_BYTES)
    while batch_size * bytes_per_image > wanted_limit and batch_size >= 2 * small_size:
        batch_size = -(-batch_size // 2)
    while batch_size * bytes_per_image > limit and batch_size >= 2 * MIN_BATCH_SIZE:
        batch_size = -(-batch_size // 2)
    return batch_size


@dataclass(frozen=True)
class Trial:
    """A network on the device on which it is trained, and the shape of its largest training images, (C, H, W)."""

    network: nn.Module
    device: torch.device
    image_shape: tuple[int, int, int]

    def fit_batch_size(self, batch_size: int, precision: str) -> int:
        """Return the number of images whose training step fits into the memory, see `fit_batch_size`."""
        is_small = getattr(self.network, "freeze_norm", False)  # there are no statistics of batches
        small_size = MIN_BATCH_SIZE if is_small else SMALL_BATCH_SIZE
        return fit_batch_size(batch_size, self.bytes_per_image(precision), self.device, small_size)

    def bytes_per_image(self, precision: str) -> float:
        """Return the memory that a training step takes for an image, see `measure_bytes_per_image`."""
        return measure_bytes_per_image(self.network, self.image_shape, PRECISIONS.get(precision, torch.float32))


def build_trial(values: Mapping[str, Any], num_classes: int) -> Trial:
    """Build the network of a configuration, with the layers trainable that are trained in the middle of the run."""
    dataset = values["dataset"]
    shape = {"channels": dataset["channels"], "image_size": dataset["image_size"]}
    network: nn.Module = instantiate_model(values["model"], num_classes=num_classes, **shape)
    if isinstance(network, FineTunable):
        network.set_progress(0.5)  # they determine the time and the memory of most steps
    device, train_size = (
        resolve_device(values["trainer"]["accelerator"]),
        max(dataset["train_sizes"] or [dataset["image_size"]]),
    )
    return Trial(network.to(device).train(), device, (dataset["channels"], train_size, train_size))


def split_batches(values: Mapping[str, Any], num_classes: int, precision: str) -> list[ResolvedValue]:
    """Divide a batch that does not fit into memory, so that a training step accumulates the gradients of its parts.

    Args:
        values: The plain resolved configuration.
        num_classes: The number of classes.
        precision: The `trainer.precision`.

    Returns:
        The values that replace those of the configuration; empty if the batch fits.
    """
    trial, batch_size = build_trial(values, num_classes), values["dataset"]["batch_size"]
    part_size = trial.fit_batch_size(batch_size, precision)
    if part_size == batch_size:
        return []
    num_parts = round(batch_size / part_size)
    gigabytes = batch_size * trial.bytes_per_image(precision) / 1e9
    reason = f"{batch_size} images of {trial.image_shape[1]} px would take {gigabytes:.1f} GB"
    accumulated = values["trainer"]["accumulate_grad_batches"] * num_parts
    return [
        ResolvedValue("dataset.batch_size", part_size, reason),
        ResolvedValue("trainer.accumulate_grad_batches", accumulated, f"training steps use {batch_size} images"),
    ]
