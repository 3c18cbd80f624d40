"""What a run ran on: versions and hardware."""

import logging
import os
import platform
import sys
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cnn_classifier import __version__
from cnn_classifier.config.secrets import redact_overrides

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


IGNORED = (
    ".*does not have many workers.*",  # batches are slices of decoded images
    ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run goes on in its own folder
    ".*The dirpath has changed from .*",  # a loose checkpoint goes on in the folder of the new run
    ".*You're resuming from a checkpoint that ended before the epoch ended.*",  # its order and position are derived
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*Trying to infer the `batch_size`.*",
    ".*could be decompression bomb DOS attack.*",  # our own limit is twice Pillow's first warning
    ".*Glyph .* missing from font.*",  # class names in scripts that matplotlib's font lacks
)


def ignore_known_warnings() -> None:
    """Keep warnings that a user can act on, drop the others."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # devices, tips
    for pattern in IGNORED:
        warnings.filterwarnings("ignore", message=pattern)
