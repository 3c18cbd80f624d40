"""`train`: Hydra composes the configuration and runs its jobs, one or a sweep of them.

Nothing here imports torch before the configuration is checked and the folder scanned.
"""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from cnn_classifier.config import COMPOSITION_ERRORS, Config, explain, quoted
from cnn_classifier.errors import ConfigError, StorageError, complain
from cnn_classifier.own_files import require_readable
from cnn_classifier.ranks import rank
from cnn_classifier.status import Status
from cnn_classifier.storage import CONF_DIR, own_folders
from cnn_classifier.sweep.job import run_job, shown
from cnn_classifier.sweep.leaderboard import MULTIRUN, RESUME, Leaderboard, what

FOLDER, SUBFOLDER = "hydra.sweep.dir=", "hydra.sweep.subdir="


def train_command(words: Sequence[str], *, debug: bool) -> int:
    """Run `train` with Hydra's own command line: overrides, `-m`, `--cfg job`, `--help`, completion.

    Returns:
        The exit code; of a sweep, that of its first job that failed.
    """
    is_sweep = not {"-m", "--multirun"}.isdisjoint(words)
    if not is_sweep and (given := [word for word in words if word.startswith(RESUME)]):
        raise ConfigError(f"{given[0]} goes with -m, and the words of that sweep")
    board = Leaderboard(sweep_folder(words)) if is_sweep else None
    ended: list[Status] = []

    def job(config: Config) -> float | None:
        settings = HydraConfig.get()
        task: Any = OmegaConf.to_container(settings.overrides.task, resolve=False)  # words may refer to others
        changed = what(task)
        run_dir = Path(settings.runtime.output_dir)
        run = run_job if board is None else board.run
        ended.append(run(config, run_dir, changed, debug=debug))
        if ended[-1].exit_code and not rank():
            complain(ended[-1].message, ended[-1].exit_code)
        return ended[-1].val_accuracy  # what a sweeper optimises

    require_readable(*own_folders(words))
    argv, sys.argv = sys.argv, [sys.argv[0], *(in_folder(words, board.folder) if board else words)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting with 1
    try:
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(job)()
    except (*COMPOSITION_ERRORS, YAMLError, ValueError) as error:  # Hydra's own; those of a job are in its status
        raise explain(error, words) from error
    except RecursionError as error:
        named = ", ".join(map(str, own_folders(words))) or CONF_DIR
        raise ConfigError(f"the defaults lists in {named} name each other without end; leave one out") from error
    except KeyboardInterrupt as error:
        go_on = f"; what is done stays, go on with the same words and {RESUME}{shown(board.folder)}" if board else ""
        raise KeyboardInterrupt(str(error) or go_on) from None
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}; choose another folder with run_dir=PATH") from error
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        sys.argv = argv
        ended = board.sum_up() if board else ended
    return next((status.exit_code for status in ended if status.exit_code), 0)


def in_folder(words: Sequence[str], folder: Path) -> list[str]:
    """The words of a command, with the folder of its sweep among its overrides: Hydra takes them in one go only."""
    others = [word for word in words if not word.startswith(FOLDER)]
    first = next((place for place, word in enumerate(others) if "=" in word and not word.startswith("-")), len(others))
    return [*others[:first], f"{FOLDER}{quoted(folder)}", *others[first:]]


def sweep_folder(words: Sequence[str]) -> Path:
    """The folder of a sweep: a new one, the one that is given, or that of the sweep to go on with.

    Raises:
        ConfigError: If no sweep began in the folder to go on with, or Hydra would put its jobs elsewhere.
    """
    for word in words:
        if (word.startswith(FOLDER) and "${" in word) or (word.startswith(SUBFOLDER) and "/" in word):
            raise ConfigError(f"{word}: a sweep has one folder, and each job one in it; expected a plain name")
    given = {
        name: word.removeprefix(name).strip("'\"").replace("\\'", "'")
        for word in words
        for name in (RESUME, FOLDER)
        if word.startswith(name)
    }
    if given.get(RESUME, "null") != "null":
        folder = Path(given[RESUME])
        if not (folder / MULTIRUN).is_file():
            raise ConfigError(
                f"{RESUME}{folder}: no sweep began there; expected a folder such as outputs/sweeps/<time>"
            )
        return folder
    return Path(given.get(FOLDER) or Path("outputs", "sweeps", datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")))
