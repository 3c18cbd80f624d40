"""Where the trials of a study are kept, for one process or many."""

import time
from typing import TYPE_CHECKING

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

import os
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock

STORAGE_ENV = "CNN_CLASSIFIER_STUDY"  # the environment's variable that tells jobs
MAX_ATTEMPTS = 5  # to make the tables of a database, which others may be making at the same moment


def open_storage(url: str) -> "BaseStorage":
    """A journal for a path, a database for an address such as `postgresql://…`.

    Raises:
        ConfigError: If it cannot be reached.
    """
    from optuna.storages import JournalStorage

    if "://" not in url:
        return JournalStorage(JournalBackend(url))
    try:
        return open_database(url)
    except ImportError as error:
        scheme = url.partition(":")[0]
        hint = "pip install 'cnn_classifier[postgresql]'" if scheme == "postgresql" else f"install one for {scheme}"
        raise ConfigError(f"sweep.storage: the database's driver is not installed; {hint}") from error
    except Exception as error:  # of whatever database it is
        detail = str(error).splitlines()[0].replace(url, url.partition("://")[0] + "://…")
        raise ConfigError(f"sweep.storage cannot be reached ({type(error).__name__}: {detail})") from error


def open_database(url: str) -> "BaseStorage":
    """Optuna's tables in a database, which are made if need be."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    url = url.replace("postgresql://", "postgresql+psycopg://", 1)  # SQLAlchemy's releases differ in the driver
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return RDBStorage(url)
        except (IntegrityError, ProgrammingError):  # the tables of another worker are half there
            time.sleep(1)
    return RDBStorage(url)


class JournalBackend(JournalFileBackend):
    """A file of one entry a line.

    Optuna reads past half a line at the file's end, but adds the next entry to it, and then reads no more.

    Args:
        path: Of the file.
    """

    def __init__(self, path: str) -> None:
        # Links are kept to administrators on Windows.
        self.path, self.lock = path, (JournalFileOpenLock if os.name == "nt" else JournalFileSymlinkLock)(path)
        super().__init__(path, self.lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.lock.acquire()
        try:
            self.truncate_partial_line()
        finally:
            self.lock.release()
        super().append_logs(logs)

    def truncate_partial_line(self) -> None:
        """Cut off what a writer left that did not come to its line's end."""
        with open(self.path, "rb+") as file:  # noqa: PTH123
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end != len(content):
                file.truncate(end)
