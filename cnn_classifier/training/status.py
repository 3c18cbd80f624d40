"""The run status file, `status.json`, and the lock of a run directory."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from filelock import FileLock, Timeout

from cnn_classifier.config.secrets import redact_overrides
from cnn_classifier.errors import ConfigError, StorageError
from cnn_classifier.files import STATUS_FILE, ensure_writable_dir, write_json

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
        status = read_status(run_dir)
        holder = f" by process {status.pid} on {status.host}" if status else ""
        raise ConfigError(
            f"run_dir={run_dir} is in use{holder}; wait for that run, or choose another run_dir"
        ) from error
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
