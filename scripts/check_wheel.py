"""Check a wheel: it contains every YAML file of `conf/`, and the installed package trains and predicts.

`python scripts/check_wheel.py FOLDER` builds a wheel into the folder and checks its content. In an environment with an
installed wheel, `python scripts/check_wheel.py WHEEL` also trains on the embedded digits.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TRAIN = ["model=baseline", "dataset.max_per_class=10", "trainer.max_epochs=1", "trainer=cpu", "run_dir=run"]


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


def check_installed_package() -> None:
    """Train on the embedded digits and predict, in an empty folder with an empty cache.

    Raises:
        subprocess.CalledProcessError: If a command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CNN_CLASSIFIER_HOME": str(Path(folder, "home"))}
        images = Path(folder, "home", "datasets", "digits", "3")
        for arguments in (["train", *TRAIN], ["predict", "run/checkpoints/best.ckpt", str(images)]):
            command = [sys.executable, "-m", "cnn_classifier", *arguments]
            subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Check the wheel that the first argument names, or that is built into the folder that it names."""
    path = Path(sys.argv[1])
    is_installed = path.suffix == ".whl"
    wheel = path if is_installed else build_wheel(path)
    missing = find_missing_yaml(wheel)
    print(f"{wheel}: {'missing ' + ', '.join(missing) if missing else 'contains every YAML file'}")
    if is_installed and not missing:
        check_installed_package()
        print("The installed package trains and predicts.")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
