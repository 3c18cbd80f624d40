"""Device selection, memory allocation and out-of-memory errors."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch

from cnn_classifier.errors import ConfigError, first_line

if TYPE_CHECKING:  # predictors do not import Hydra
    from cnn_classifier.config.compose import Config

# torch's messages for CPU memory on Linux and macOS, and on Windows. For GPU memory, it raises `OutOfMemoryError`.
OOM_MESSAGES = ("can't allocate memory", "not enough memory")
# Constants of malloc.h
TRIM_THRESHOLD, MMAP_MAX = -1, -4
MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


@contextmanager
def explain_out_of_memory(config: "Config") -> Iterator[None]:
    """Convert out-of-memory errors of training to a `ConfigError`.

    Args:
        config: The config of the run, whose batch size and image size are part of the message.

    Raises:
        ConfigError: If the CPU or the GPU is out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = first_line(error)
        is_cpu_error = isinstance(error, MemoryError) or any(oom_message in message for oom_message in OOM_MESSAGES)
        if not is_cpu_error and not isinstance(error, torch.OutOfMemoryError):
            raise
        batch_size, image_size = config.dataset.batch_size, config.dataset.image_size
        smaller_batch_size = batch_size // 2 if isinstance(batch_size, int) and batch_size > 1 else 16
        raise ConfigError(
            f"Not enough memory for dataset.batch_size={batch_size} with dataset.image_size={image_size} ({message}): "
            f"use dataset.batch_size={smaller_batch_size} or smaller images, or free memory and use resume=auto"
        ) from error


def resolve_device(accelerator: str) -> torch.device:
    """Return the device that Lightning uses for a value of `trainer.accelerator`.

    Args:
        accelerator: `cpu` for the CPU; any other value selects the available accelerator, if there is one.
    """
    device = torch.accelerator.current_accelerator(check_available=True)
    return device if device is not None and accelerator != "cpu" else torch.device("cpu")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16.

    Other CPUs compute in float32 and round, which is ten times slower (measured with AVX2).
    """
    return device.type == "cuda" or (
        device.type == "cpu" and torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    )


def tune_malloc() -> None:
    """Make glibc reuse the memory of freed tensors instead of returning it to the operating system.

    By default, glibc maps every large block anew: 160,000 page faults per step of `model=cnn` with 32 images of 128
    px. With reuse, the same step processes 1.5 times as many images per second on 2 cores, with 25 % more memory
    (measured). Other C libraries are not changed.
    """
    with suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)


def release_memory(*, collect: bool = True) -> None:
    """Return freed memory to the operating system, which `tune_malloc` keeps.

    Without it, the timing of several precisions leaves the memory of the largest to the whole run.

    Args:
        collect: Whether to free objects in reference cycles before, which takes 0.3 s.
    """
    if collect:
        gc.collect()
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
