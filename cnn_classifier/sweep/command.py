"""`train`: Hydra composes the configuration and runs its jobs, one or a sweep of them.

Nothing here imports torch before the configuration is checked and the folder scanned.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cnn_classifier.config import COMPOSITION_ERRORS, Config, explain
from cnn_classifier.errors import ConfigError, StorageError, complain
from cnn_classifier.status import Status
from cnn_classifier.storage import CONF_DIR
from cnn_classifier.sweep.job import run_job
from cnn_classifier.sweep.leaderboard import Leaderboard

RESUME = "sweep.resume="


def train_command(words: Sequence[str], *, debug: bool) -> int:
    """Run `train` with Hydra's own command line: overrides, `-m`, `--cfg job`, `--help`, completion.

    Returns:
        The exit code; of a sweep, that of the first run that failed.
    """
    statuses: list[Status] = []
    boards: list[Leaderboard] = []

    def job(config: Config) -> float | None:
        settings = HydraConfig.get()
        changed = [word for word in settings.overrides.task if not word.startswith("sweep.")]
        run_dir = Path(settings.runtime.output_dir)
        if settings.mode is RunMode.MULTIRUN:
            boards[:] = boards or [Leaderboard(Path(settings.sweep.dir))]
            statuses.append(boards[0].run(config, run_dir, changed, debug=debug))
        else:
            statuses.append(run_job(config, run_dir, changed, debug=debug))
        if statuses[-1].exit_code:
            complain(statuses[-1].message, statuses[-1].exit_code)
        return statuses[-1].val_accuracy  # what a sweeper optimises

    argv, sys.argv = sys.argv, [sys.argv[0], *words, *in_the_folder_of(words)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting with 1
    try:
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(job)()
    except (*COMPOSITION_ERRORS, ValueError) as error:  # Hydra's own; those of a job are in its status
        raise explain(error, words) from error
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}; choose another folder with run_dir=PATH") from error
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        sys.argv = argv
        for board in boards:
            print(f"\n{board.table()}\n{board.folder / 'leaderboard.html'}")
    return next((status.exit_code for status in statuses if status.exit_code), 0)


def in_the_folder_of(words: Sequence[str]) -> list[str]:
    """What makes a sweep go on in the folder of an earlier one.

    Raises:
        ConfigError: If there is no such folder, or this is no sweep.
    """
    given = [word.removeprefix(RESUME) for word in words if word.startswith(RESUME)]
    if not given or given[-1] == "null":
        return []
    if not {"-m", "--multirun"} & set(words):
        raise ConfigError(f"{RESUME}{given[-1]} goes with -m, and the words of that sweep")
    folder = Path(given[-1].strip("'\""))
    if not (folder / "multirun.yaml").is_file():
        raise ConfigError(f"{RESUME}{folder}: no sweep began there; expected a folder such as outputs/sweeps/<time>")
    return [f"hydra.sweep.dir={given[-1]}"]
