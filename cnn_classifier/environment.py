"""What a run ran on: versions and hardware."""

import os
import platform
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cnn_classifier import __version__
from cnn_classifier.secrets import redact_overrides

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "numpy",
    "pillow",
    "scikit-learn",
    "onnxruntime",
)


def collect_environment() -> dict[str, Any]:
    """Plain data for `environment.json` and the report."""
    torch = sys.modules.get("torch")  # an exported graph answers without it
    versions = {"cnn_classifier": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    gpu_indices = range(torch.cuda.device_count()) if torch else ()
    return {
        "versions": versions,
        "hardware": {
            "machine": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads() if torch else os.cpu_count(),
            "accelerators": [torch.cuda.get_device_name(index) for index in gpu_indices] if torch else [],
        },
        "command": redact_overrides(sys.argv),
    }
