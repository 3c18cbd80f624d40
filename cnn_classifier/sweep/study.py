"""Where the trials of a study are kept, for one process or many."""

import time
from typing import TYPE_CHECKING

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STORAGE_ENV = "CNN_CLASSIFIER_STUDY"  # the environment's variable that tells jobs
MAX_ATTEMPTS = 5  # to make the tables of a database, which others may be making at the same moment


def open_storage(url: str) -> "BaseStorage":
    """A journal for a path, a database for an address such as `postgresql://…`.

    Raises:
        ConfigError: If it cannot be reached.
    """
    from optuna.storages import JournalStorage

    from cnn_classifier.sweep.journal import JournalBackend

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
