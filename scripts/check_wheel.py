"""Build the wheel and check that it carries every YAML of `conf/`: `python scripts/check_wheel.py FOLDER`."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build_wheel(folder: Path) -> Path:
    """Build into a folder with the hatchling of this environment, offline."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def find_missing_yaml(wheel: Path) -> list[str]:
    """The configuration files that the wheel lacks."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = [f"cnn_classifier/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")]
    return [name for name in expected if name not in packed]


if __name__ == "__main__":
    built = build_wheel(Path(sys.argv[1]))
    missing = find_missing_yaml(built)
    print(f"{built}: {'lacks ' + ', '.join(missing) if missing else 'carries every YAML'}")
    sys.exit(bool(missing))
