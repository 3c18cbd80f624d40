"""How a run stands: `status.json` in its folder, written by the run, read by whoever waits for it."""

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
from cnn_classifier.files import ensure_writable_dir, write_json

STATUS_FILE = "status.json"
LOCK_FILE = ".lock"
RUNNING, DONE, FAILED, INTERRUPTED, PRUNED, KILLED = "running", "done", "failed", "interrupted", "pruned", "killed"
FINISHED = (DONE, PRUNED)  # not to be done again


@dataclass(frozen=True, kw_only=True)
class Status:
    """One run.

    Args:
        run_dir: Its folder.
        words: What its command changed.
        state: `running`, `done`, `failed`, `interrupted` (Ctrl-C, SIGTERM) or `pruned`; `killed` if it says that it is
            running and nobody holds its lock.
        exit_code: 0, or what the run alone would have returned; None while it runs.
        message: What went wrong, if something did.
        epoch: Epochs that are done.
        max_epochs: That are planned.
        val_accuracy: Of the last epoch while it runs; of the best checkpoint once it is done.
        val_loss: Likewise.
        test_accuracy: On the test images; shown, never chosen by.
        seconds: From start to report.
        pid: Of its process.
        host: Where that runs.
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
        """Write it into the run's folder.

        Raises:
            StorageError: If that cannot be written.
        """
        content = {name: value for name, value in asdict(self).items() if name != "run_dir"}
        try:
            write_json(
                ensure_writable_dir(self.run_dir) / STATUS_FILE,
                content | {"overrides": redact_overrides(self.overrides)},
            )
        except OSError as error:
            raise StorageError(f"{self.run_dir / STATUS_FILE} cannot be written ({error.strerror})") from error


def read_status(run_dir: Path) -> Status | None:
    """How the run of a folder stands; None if the folder does not tell."""
    try:
        content = json.loads((run_dir / STATUS_FILE).read_text(encoding="utf-8"))
        field_names = {item.name for item in fields(Status)}
        status = Status(run_dir=run_dir, **{name: value for name, value in content.items() if name in field_names})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    if status.state == RUNNING and not is_locked(run_dir):
        return replace(status, state=KILLED, message="its process is gone")
    return status


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if need be, for this process alone; a process that dies lets go of it.

    Raises:
        ConfigError: If another run holds it.
        StorageError: If it cannot be made.
    """
    lock = FileLock(ensure_writable_dir(run_dir) / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        status = read_status(run_dir)
        holder = f" by process {status.pid} on {status.host}" if status else ""
        raise ConfigError(f"run_dir={run_dir} is in use{holder}; wait for it, or choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(run_dir: Path) -> bool:
    """Whether a living process holds the folder."""
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
