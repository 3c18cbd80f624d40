"""The run status file, `status.json`, and the lock of a run directory."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from filelock import FileLock, Timeout

from cnn_classifier.config.compose import Config
from cnn_classifier.config.overrides import shell_override
from cnn_classifier.config.secrets import redact_overrides
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError, StorageError
from cnn_classifier.files import (
    CHECKPOINT_DIR,
    CONFIG_FILE,
    LAST_CHECKPOINT,
    REPORT_JSON,
    STATUS_FILE,
    display_path,
    ensure_writable_dir,
    write_json,
)

LOCK_FILE = ".lock"
RUNNING, DONE, FAILED, INTERRUPTED, PRUNED, KILLED = "running", "done", "failed", "interrupted", "pruned", "killed"
FINISHED = (DONE, PRUNED)  # a resumed sweep skips these


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a run.

    Args:
        run_dir: The directory of the run.
        overrides: The overrides of its command.
        state: `running`, `done`, `failed`, `interrupted` (Ctrl-C, SIGTERM) or `pruned`; `killed` if the file contains
            `running`, but no process holds the lock of the directory.
        exit_code: The exit code of the run, None while it runs.
        message: The error message, empty if there is none.
        epoch: The number of completed epochs.
        max_epochs: The number of planned epochs.
        val_accuracy: The validation accuracy of the last epoch during training, of the best checkpoint afterwards.
        val_loss: The validation loss of the same epoch.
        test_accuracy: The test accuracy of the best checkpoint; shown, but never used to choose a run.
        seconds: The seconds from the start to the report.
        pid: The id of the process.
        host: The host name of its machine.
    """

    run_dir: Path
    overrides: Sequence[str] = ()
    state: str = RUNNING
    exit_code: int | None = None
    message: str = ""
    epoch: int = 0
    max_epochs: int = 0
    val_accuracy: float | None = None
    val_loss: float | None = None
    test_accuracy: float | None = None
    seconds: float | None = None
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)

    def write(self) -> None:
        """Write `status.json` in the run directory.

        Raises:
            StorageError: If the file cannot be written.
        """
        content = {name: value for name, value in asdict(self).items() if name != "run_dir"}
        try:
            write_json(
                ensure_writable_dir(self.run_dir) / STATUS_FILE,
                content | {"overrides": redact_overrides(self.overrides)},
            )
        except OSError as error:
            raise StorageError(f"Cannot write {self.run_dir / STATUS_FILE}: {error.strerror}") from error


def read_status(run_dir: Path) -> Status | None:
    """Return the status of the run in a directory, None without a readable `status.json`."""
    try:
        content = json.loads((run_dir / STATUS_FILE).read_text(encoding="utf-8"))
        field_names = {item.name for item in fields(Status)}
        status = Status(run_dir=run_dir, **{name: value for name, value in content.items() if name in field_names})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    if status.state == RUNNING and not is_locked(run_dir):
        return replace(status, state=KILLED, message="the process no longer runs")
    return status


def check_new_run_dir(run_dir: Path) -> None:
    """Check that a new run overwrites nothing: its directory is new, empty, or of a run that saved no checkpoint.

    Raises:
        ConfigError: If the directory holds a run or other files, or is a file.
    """
    if not run_dir.exists():
        return
    name = display_path(run_dir)
    example = f"such as {shell_override('run_dir', f'{name}-2')}"
    if not run_dir.is_dir():
        raise ConfigError(f"run_dir={name} is a file: expected a new directory, {example}")
    if is_locked(run_dir):
        raise in_use_error(run_dir)
    status = read_status(run_dir)
    if (run_dir / REPORT_JSON).exists() or any((run_dir / CHECKPOINT_DIR).glob("*.ckpt")):
        state = "a finished run" if status is None or status.state == DONE else f"a run that is {status.state}"
        resume = shell_override("resume", name)
        raise ConfigError(f"run_dir={name} holds {state}: continue it with {resume}, or choose another name, {example}")
    is_run = status is not None or (run_dir / CONFIG_FILE).exists()
    if not is_run and (names := [path.name for path in run_dir.iterdir() if not path.name.startswith(".")]):
        raise ConfigError(
            f"run_dir={name} contains other files, such as {min(names)}: expected a new or an empty directory"
        )


def check_outside_dataset(run_dir: Path, index: DatasetIndex) -> None:
    """Check that the figures of a run will not become images of its dataset, which is scanned from folders.

    Raises:
        ConfigError: If the run directory is inside a folder that is scanned.
    """
    root, run_path = index.root.resolve(), run_dir.resolve()
    if not run_path.is_relative_to(root) or not all(sample.path.is_relative_to(index.root) for sample in index.samples):
        return
    splits = {sample.path.relative_to(index.root).parts[0] for sample in index.samples if sample.split is not None}
    has_classes = any(sample.split is None for sample in index.samples)  # otherwise only the split folders are read
    if run_path == root or has_classes or run_path.relative_to(root).parts[0] in splits:
        raise ConfigError(
            f"run_dir={display_path(run_dir)} is inside the dataset {index.root}, so that its figures would become "
            f"training images: choose a directory outside, such as run_dir={root.parent / 'outputs' / 'first'}"
        )


def in_use_error(run_dir: Path) -> ConfigError:
    """Return the error for a directory that another process has locked."""
    status = read_status(run_dir)
    holder = f" by process {status.pid} on {status.host}" if status else ""
    return ConfigError(
        f"run_dir={display_path(run_dir)} is in use{holder}; wait for that run, or choose another run_dir"
    )


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Lock a run directory for this process. The lock is released when the process exits, even after a crash.

    Args:
        run_dir: The run directory, which is created if it does not exist.

    Raises:
        ConfigError: If another process holds the lock.
        StorageError: If the directory cannot be created.
    """
    lock = FileLock(ensure_writable_dir(run_dir) / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise in_use_error(run_dir) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(run_dir: Path) -> bool:
    """Return whether a running process holds the lock of a run directory."""
    path = run_dir / LOCK_FILE
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def resume_hint(config: Config) -> str:
    """Return how to resume a stopped run or sweep; an empty string if no checkpoint was saved."""
    run_dir = Path(config.run_dir)
    if config.sweep.name:
        return sweep_resume_hint(run_dir.parent)
    if not any(run_dir.glob(LAST_CHECKPOINT.as_posix())) and not any(run_dir.glob(f"fold_*/{LAST_CHECKPOINT}")):
        return ""
    return f"; the last checkpoint is kept, resume with {shell_override('resume', display_path(run_dir))}"


def sweep_resume_hint(sweep_dir: Path) -> str:
    """Return how to resume a stopped sweep."""
    override = shell_override("sweep.resume", display_path(sweep_dir))
    return f"; finished jobs are kept, resume with the same command and {override}"
