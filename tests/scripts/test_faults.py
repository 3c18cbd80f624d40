"""Tests of the fault-injection suite: a short run, and the names in docs/reliability.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = ROOT / "scripts" / "faults"


@pytest.mark.skipif(sys.platform != "linux", reason="the suite requires Linux")
def test_short_run_passes_every_fault() -> None:
    command = [sys.executable, str(FAULTS), "--short"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [line for line in result.stdout.splitlines() if line.startswith(("ok ", "FAILED"))]
    assert [row for row in rows if row.startswith("FAILED")] == []
    assert result.returncode == 0, result.stderr
    assert len(rows) == 6


def test_reliability_page_lists_every_fault() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in FAULTS.glob("*.py"))
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert set(re.findall(r'"(R\d[^"\n]*)"', source)) == set(re.findall(r"^\| (R\d.*?) \|", page, re.MULTILINE))


def test_tests_that_cover_faults_exist() -> None:
    paths = re.findall(r"tests/[\w/.]*\w", "\n".join(path.read_text(encoding="utf-8") for path in FAULTS.glob("*.py")))
    assert [path for path in paths if not (ROOT / path).exists()] == []
