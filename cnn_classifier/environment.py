"""What a run ran on: versions and hardware."""

import os
import platform
import sys
from importlib.metadata import version
from typing import Any

import torch

from cnn_classifier import __version__

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "numpy",
    "pillow",
    "scikit-learn",
)


def environment() -> dict[str, Any]:
    """Plain data for `environment.json` and the report."""
    versions = {"cnn_classifier": __version__, "python": platform.python_version()}
    return {
        "versions": versions | {package: version(package) for package in PACKAGES},
        "hardware": {
            "machine": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerators": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
        "command": sys.argv,
    }
