"""Where memory does not suffice, what would need less of it is told."""

import pytest
import torch

from cnn_classifier.config.compose import load_config
from cnn_classifier.errors import ConfigError
from cnn_classifier.training.devices import explain_out_of_memory

CONFIG = load_config(["dataset=folder", "dataset.batch_size=32", "dataset.image_size=64"])
ADVICE = r"not enough memory for dataset.batch_size=32 with dataset.image_size=64 \(.*\); give dataset.batch_size=16"


def test_what_the_cpu_does_not_have() -> None:
    with pytest.raises(ConfigError, match=ADVICE), explain_out_of_memory(CONFIG):
        torch.empty(1 << 45)


def test_what_a_gpu_does_not_have() -> None:
    with pytest.raises(ConfigError, match=ADVICE), explain_out_of_memory(CONFIG):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), explain_out_of_memory(CONFIG):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
