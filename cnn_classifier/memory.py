"""Memory that is not enough, told with what would need less of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cnn_classifier.config import Config
from cnn_classifier.errors import ConfigError

# What torch says of the CPU's memory, on Linux and macOS and on Windows; of a GPU's it raises an error of its own.
OOM_MESSAGES = ("can't allocate memory", "not enough memory")


@contextmanager
def explain_out_of_memory(config: Config) -> Iterator[None]:
    """Make a ConfigError of what a training raises when it finds no memory, or no more of it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message = str(error).splitlines()[0] if str(error) else "MemoryError"
        is_cpu_error = isinstance(error, MemoryError) or any(oom_message in message for oom_message in OOM_MESSAGES)
        if not is_cpu_error and not isinstance(error, torch.OutOfMemoryError):
            raise
        batch_size, image_size = config.dataset.batch_size, config.dataset.image_size
        smaller_batch_size = batch_size // 2 if isinstance(batch_size, int) and batch_size > 1 else 16
        raise ConfigError(
            f"not enough memory for dataset.batch_size={batch_size} with dataset.image_size={image_size} ({message}); "
            f"give dataset.batch_size={smaller_batch_size} or smaller images, or free some and go on with resume=auto"
        ) from error
