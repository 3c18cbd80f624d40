"""A few of every fault; `make faults` does them all."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="forks and kills as Linux does")
def test_a_few_of_every_fault_end_as_promised() -> None:
    faults = [sys.executable, str(Path(__file__).parents[2] / "scripts" / "faults"), "--short"]
    done = subprocess.run(faults, capture_output=True, text=True, check=False)
    rows = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "WRONG"))]
    assert [row for row in rows if row.startswith("WRONG")] == []
    assert done.returncode == 0, done.stderr
    assert len(rows) == 6
