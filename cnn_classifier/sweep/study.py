"""Where the trials of a study are kept, for one process or many."""

import time
from typing import TYPE_CHECKING

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STORAGE = "CNN_CLASSIFIER_STUDY"  # the environment's variable that tells jobs
ATTEMPTS = 5  # to make the tables of a database, which others may be making at the same moment


def open_storage(address: str) -> "BaseStorage":
    """A journal for a path, a database for an address such as `postgresql://…`.

    Raises:
        ConfigError: If it cannot be reached.
    """
    from optuna.storages import JournalStorage

    from cnn_classifier.sweep.journal import Journal

    if "://" not in address:
        return JournalStorage(Journal(address))
    try:
        return open_database(address)
    except ImportError as error:
        kind = address.partition(":")[0]
        fix = "pip install 'cnn_classifier[postgresql]'" if kind == "postgresql" else f"install one for {kind}"
        raise ConfigError(f"sweep.storage: the database's driver is not installed; {fix}") from error
    except Exception as error:  # of whatever database it is
        told = str(error).splitlines()[0].replace(address, address.partition("://")[0] + "://…")
        raise ConfigError(f"sweep.storage cannot be reached ({type(error).__name__}: {told})") from error


def open_database(address: str) -> "BaseStorage":
    """Optuna's tables in a database, which are made if need be."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    address = address.replace("postgresql://", "postgresql+psycopg://", 1)  # SQLAlchemy's releases differ in the driver
    for _ in range(ATTEMPTS - 1):
        try:
            return RDBStorage(address)
        except (IntegrityError, ProgrammingError):  # the tables of another worker are half there
            time.sleep(1)
    return RDBStorage(address)
