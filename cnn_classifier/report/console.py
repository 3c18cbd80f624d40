"""The summary of a finished run that is printed on the console."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_classifier.files import REPORT_HTML, REPORT_JSON, display_path


def format_run_summary(run_dir: Path, checkpoint: Path, report: Mapping[str, Any]) -> str:
    """Return the test metrics, the output paths and the command to predict with.

    Args:
        run_dir: The run directory.
        checkpoint: The path of the best checkpoint.
        report: The content of `report.json`.
    """
    test, seconds = report["test"], report["timing"]["total_seconds"]
    folder, checkpoint_path = display_path(run_dir), display_path(checkpoint)
    script = Path(sys.executable).with_name("cnn-classifier")  # if the virtual environment is not activated
    command = "cnn-classifier" if shutil.which("cnn-classifier") else display_path(script)
    tensorboard = f"\n  tensorboard --logdir {folder}" if (run_dir / "tensorboard").is_dir() else ""
    return (
        f"\ntest accuracy {test['accuracy']:.4f}  F1 (macro) {test['f1_macro']:.4f}  loss {test['loss']:.4f}"
        f"  in {seconds:.0f} s\n"
        f"  report      {folder / REPORT_HTML}, metrics in {folder / REPORT_JSON}\n"
        f"  checkpoint  {checkpoint_path}\n"
        f"  predict     {command} predict {checkpoint_path} IMAGE|FOLDER"
        f"{tensorboard}"
    )
