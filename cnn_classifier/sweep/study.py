"""Where the trials of a study are kept, for one process or many."""

from typing import TYPE_CHECKING

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STORAGE = "CNN_CLASSIFIER_STUDY"  # the environment's variable that tells jobs
SECONDS_BETWEEN_SIGNS = 60  # of life, on which other machines see that a trial's process is gone


def open_storage(address: str) -> "BaseStorage":
    """A journal for a path, a database for an address such as `postgresql://…`.

    Raises:
        ConfigError: If it cannot be reached.
    """
    from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback

    from cnn_classifier.sweep.journal import Journal

    if "://" not in address:
        return JournalStorage(Journal(address))
    try:
        return RDBStorage(
            address,
            heartbeat_interval=SECONDS_BETWEEN_SIGNS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=2),
        )
    except ModuleNotFoundError as error:
        raise ConfigError(f"sweep.storage: {error.name} is not installed; pip install {error.name}") from error
    except Exception as error:  # of whatever database it is
        told = str(error).splitlines()[0].replace(address, address.partition("://")[0] + "://…")
        raise ConfigError(f"sweep.storage cannot be reached ({type(error).__name__}: {told})") from error
