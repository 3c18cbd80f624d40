"""The storage of an Optuna study: a journal file or a database."""

import time
from typing import TYPE_CHECKING

from cnn_classifier.errors import ConfigError, first_line, install_command

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STORAGE_ENV = "CNN_CLASSIFIER_STUDY"  # environment variable that passes the storage to jobs
MAX_ATTEMPTS = 5  # attempts to create the tables of a database; other processes may be creating them too


def open_storage(url: str) -> "BaseStorage":
    """Open a journal file for a path, or a database for a URL such as `postgresql://…`.

    Raises:
        ConfigError: If the storage cannot be opened.
    """
    if "://" not in url:
        from optuna.storages import JournalStorage

        from cnn_classifier.sweep.journal import JournalBackend  # subclasses Optuna, which is optional

        return JournalStorage(JournalBackend(url))
    try:
        return open_database(url)
    except ImportError as error:
        scheme = url.partition(":")[0]
        hint = install_command("postgresql") if scheme == "postgresql" else f"install one for {scheme}"
        raise ConfigError(f"Cannot open sweep.storage: the database driver is not installed; {hint}") from error
    except Exception as error:  # every database driver raises its own exceptions
        detail = first_line(error).replace(url, url.partition("://")[0] + "://…")
        raise ConfigError(f"Cannot open sweep.storage ({type(error).__name__}: {detail})") from error


def open_database(url: str) -> "BaseStorage":
    """Open a database and create Optuna's tables if needed."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    # The default driver depends on the version of SQLAlchemy.
    url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return RDBStorage(url)
        except (IntegrityError, ProgrammingError):  # another process is creating the tables
            time.sleep(1)
    return RDBStorage(url)
