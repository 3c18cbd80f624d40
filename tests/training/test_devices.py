"""Conversion of out-of-memory errors to a `ConfigError`."""

import pytest
import torch

from cnn_classifier.config.compose import load_config
from cnn_classifier.errors import ConfigError
from cnn_classifier.training.devices import explain_out_of_memory

CONFIG = load_config(["dataset=folder", "dataset.batch_size=32", "dataset.image_size=64"])
MESSAGE = r"Not enough memory for dataset.batch_size=32 with dataset.image_size=64 \(.*\): use dataset.batch_size=16"


def test_cpu_out_of_memory_suggests_a_smaller_batch() -> None:
    with pytest.raises(ConfigError, match=MESSAGE), explain_out_of_memory(CONFIG):
        torch.empty(1 << 45)


def test_gpu_out_of_memory_suggests_a_smaller_batch() -> None:
    with pytest.raises(ConfigError, match=MESSAGE), explain_out_of_memory(CONFIG):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_other_runtime_errors_are_not_converted() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), explain_out_of_memory(CONFIG):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
