"""The quickstart notebook."""

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "docs" / "quickstart.ipynb"


def test_notebook_runs_from_the_first_to_the_last_cell(tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")

    environment = os.environ | {"MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "outputs" / "quickstart" / "checkpoints" / "best.ckpt").exists()
    assert "same class for" in result.stdout
    assert all(not cell.get("outputs") for cell in cells)
