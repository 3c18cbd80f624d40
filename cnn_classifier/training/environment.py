"""Package versions and hardware of a run, and filters for known warnings."""

import logging
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cnn_classifier import __version__
from cnn_classifier.config.secrets import redact_overrides
from cnn_classifier.config.yaml_files import user_config_dirs

# The environment variable with the command of a training in several processes, for those that it starts.
COMMAND_VARIABLE = "CNN_CLASSIFIER_COMMAND"
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


def collect_environment(overrides: Sequence[str] | None = None) -> dict[str, Any]:
    """Return versions, hardware and command of this process, as plain data for `environment.json` and the report.

    Args:
        overrides: The overrides of a training; None for other commands.
    """
    torch = sys.modules.get("torch")  # not imported here, since exported models run without it
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
        "command": os.environ.get(COMMAND_VARIABLE) or shell_command(overrides),
    }


def shell_command(overrides: Sequence[str] | None = None) -> str:
    """Return the command of this process, quoted for a shell, without secrets.

    Args:
        overrides: The overrides of a training, whose job may be one of a sweep; None for other commands.
    """
    program, arguments = Path(sys.argv[0]).name, redact_overrides(sys.argv[1:])
    if overrides is not None:
        config_dirs = [f"--config-dir={folder}" for folder in user_config_dirs(sys.argv)]
        arguments = ["train", *config_dirs, *redact_overrides(overrides)]
    if program == "train.py":
        prefix, arguments = ["python", "train.py"], arguments[1:]
    elif program == "__main__.py":
        prefix = ["python", "-m", "cnn_classifier"]
    elif program.endswith(".py") and not overrides:  # a script that calls `train`
        prefix, arguments = ["python", sys.argv[0]], redact_overrides(sys.argv[1:])
    else:
        prefix = ["cnn-classifier"]
    return shlex.join([*prefix, *arguments])


IGNORED_WARNINGS = (
    ".*does not have many workers.*",  # batches are slices of decoded images, which need no workers
    ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run continues in its own directory
    ".*The dirpath has changed from .*",  # a checkpoint without a run directory continues in the new one
    ".*You're resuming from a checkpoint that ended before the epoch ended.*",  # the order follows from (seed, epoch)
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*You requested to overfit but enabled .* dataloader shuffling.*",  # the order of the first epoch is repeated
    ".*could not find the monitored key.*",  # without validation, the last weights are the best checkpoint
    ".*Trying to infer the `batch_size`.*",
    ".*could be decompression bomb DOS attack.*",  # the limit of this package is twice Pillow's warning threshold
    ".*Glyph .* missing from font.*",  # class names in scripts that matplotlib's font does not contain
)


def ignore_known_warnings() -> None:
    """Filter out warnings of libraries that a user cannot act on."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # devices, tips
    for pattern in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
