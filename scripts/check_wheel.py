"""Build the wheel and check that it contains every YAML file of `conf/`: `python scripts/check_wheel.py FOLDER`."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build_wheel(folder: Path) -> Path:
    """Build the wheel offline with hatchling and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def find_missing_yaml(wheel: Path) -> list[str]:
    """Return the config files that are missing from the wheel."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = [f"cnn_classifier/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")]
    return [name for name in expected if name not in names]


if __name__ == "__main__":
    wheel_path = build_wheel(Path(sys.argv[1]))
    missing = find_missing_yaml(wheel_path)
    print(f"{wheel_path}: {'missing ' + ', '.join(missing) if missing else 'contains every YAML file'}")
    sys.exit(bool(missing))
