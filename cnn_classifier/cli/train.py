"""The help of `train`, drawn from `conf/` itself: Hydra's own takes seconds to list the groups."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from cnn_classifier.config.compose import Config
from cnn_classifier.config.hydra_errors import COMPOSITION_ERRORS, translate_hydra_error
from cnn_classifier.config.overrides import quote_override
from cnn_classifier.config.paths import CONF_DIR, user_config_dirs
from cnn_classifier.config.yaml_files import check_yaml_files
from cnn_classifier.errors import ConfigError, StorageError, print_error
from cnn_classifier.sweep.job import run_job, sweep_resume_hint
from cnn_classifier.sweep.leaderboard import MULTIRUN_YAML, RESUME_OVERRIDE, Leaderboard, job_overrides
from cnn_classifier.training.distributed import get_rank
from cnn_classifier.training.status import Status

EXAMPLES = """\
Train an image classifier on a folder of pictures.

  python train.py                                       the embedded handwritten digits
  python train.py dataset=folder dataset.root=PATH      your own folder of images
  python train.py dataset=cats_dogs dataset.root=PATH model=baseline optimizer.lr=3e-4
  python train.py -m model=baseline,cnn seed=1,2,3      a sweep: every combination
  python train.py --cfg job                             the configuration, without running

Choose one of each group, and change any value of the configuration with key=value; --cfg job shows them all.
"""
FLAGS = """\
  -m, --multirun         run every combination of the values that are separated by commas
  -c, --cfg job          print the configuration and stop; --resolve fills in what refers to other values
  -cd, --config-dir DIR  a folder with groups and options of your own
  --debug                show where an error comes from
  --hydra-help           what else Hydra understands

Tab completion: eval "$(python train.py -sc install=bash)"
"""
SWEEP_DIR, SWEEP_SUBDIR = "hydra.sweep.dir=", "hydra.sweep.subdir="


def format_train_help(argv: Sequence[str] = ()) -> str:
    """What can be chosen, each option with the first line of its file.

    Args:
        words: Of the command; a `--config-dir` among them is listed, too.
    """
    options = [path for folder in (CONF_DIR, *user_config_dirs(argv)) for path in folder.glob("*/*.yaml")]
    groups = sorted({path.parent.name for path in options})
    return "\n".join([EXAMPLES, *(format_group_help(group, options) for group in groups), FLAGS])


def format_group_help(group: str, options: Sequence[Path]) -> str:
    """`model` and its options, one a line."""
    width = shutil.get_terminal_size((120, 24)).columns
    lines = [group]
    for path in sorted(path for path in options if path.parent.name == group):
        comments = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match("# [^@]", line)]
        description = comments[0].removeprefix("# ") if comments else ""
        summary = textwrap.shorten(description, max(width - 24, 24), placeholder=" …")
        lines.append(f"  {f'{group}={path.stem}':<22}{summary}".rstrip())
    return "\n".join([*lines, ""])


def train_command(argv: Sequence[str], *, debug: bool) -> int:
    """Run `train` with Hydra's own command line: overrides, `-m`, `--cfg job`, `--help`, completion.

    Returns:
        The exit code; of a sweep, that of its first job that failed.
    """
    is_sweep = not {"-m", "--multirun"}.isdisjoint(argv)
    if not is_sweep and (resume_arguments := [argument for argument in argv if argument.startswith(RESUME_OVERRIDE)]):
        raise ConfigError(f"{resume_arguments[0]} goes with -m, and the words of that sweep")
    leaderboard = Leaderboard(resolve_sweep_dir(argv)) if is_sweep else None
    statuses: list[Status] = []

    def run_task(config: Config) -> float | None:
        hydra_config = HydraConfig.get()
        task_overrides: Any = OmegaConf.to_container(
            hydra_config.overrides.task, resolve=False
        )  # words may refer to others
        overrides = job_overrides(task_overrides)
        run_dir = Path(hydra_config.runtime.output_dir)
        run_function = run_job if leaderboard is None else leaderboard.run
        statuses.append(run_function(config, run_dir, overrides, debug=debug))
        if statuses[-1].exit_code and not get_rank():
            print_error(statuses[-1].message, statuses[-1].exit_code)
        return statuses[-1].val_accuracy  # what a sweeper optimises

    check_yaml_files(*user_config_dirs(argv))
    original_argv, sys.argv = (
        sys.argv,
        [sys.argv[0], *(with_sweep_dir(argv, leaderboard.sweep_dir) if leaderboard else argv)],
    )
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting with 1
    try:
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(run_task)()
    except (*COMPOSITION_ERRORS, YAMLError, ValueError) as error:  # Hydra's own; those of a job are in its status
        raise translate_hydra_error(error, argv) from error
    except RecursionError as error:
        config_dirs = ", ".join(map(str, user_config_dirs(argv))) or CONF_DIR
        raise ConfigError(f"the defaults lists in {config_dirs} name each other without end; leave one out") from error
    except KeyboardInterrupt as error:
        hint = sweep_resume_hint(leaderboard.sweep_dir) if leaderboard else ""
        raise KeyboardInterrupt(str(error) or hint) from None
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}; choose another folder with run_dir=PATH") from error
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        sys.argv = original_argv
        statuses = leaderboard.finalize() if leaderboard else statuses
    return next((status.exit_code for status in statuses if status.exit_code), 0)


def with_sweep_dir(argv: Sequence[str], sweep_dir: Path) -> list[str]:
    """The words of a command, with the folder of its sweep among its overrides: Hydra takes them in one go only."""
    others = [argument for argument in argv if not argument.startswith(SWEEP_DIR)]
    insert_at = next(
        (index for index, argument in enumerate(others) if "=" in argument and not argument.startswith("-")),
        len(others),
    )
    return [*others[:insert_at], f"{SWEEP_DIR}{quote_override(sweep_dir)}", *others[insert_at:]]


def resolve_sweep_dir(argv: Sequence[str]) -> Path:
    """The folder of a sweep: a new one, the one that is given, or that of the sweep to go on with.

    Raises:
        ConfigError: If no sweep began in the folder to go on with, or Hydra would put its jobs elsewhere.
    """
    for argument in argv:
        if (argument.startswith(SWEEP_DIR) and "${" in argument) or (
            argument.startswith(SWEEP_SUBDIR) and "/" in argument
        ):
            raise ConfigError(f"{argument}: a sweep has one folder, and each job one in it; expected a plain name")
    values = {
        prefix: argument.removeprefix(prefix).strip("'\"").replace("\\'", "'")
        for argument in argv
        for prefix in (RESUME_OVERRIDE, SWEEP_DIR)
        if argument.startswith(prefix)
    }
    if values.get(RESUME_OVERRIDE, "null") != "null":
        folder = Path(values[RESUME_OVERRIDE])
        if not (folder / MULTIRUN_YAML).is_file():
            raise ConfigError(
                f"{RESUME_OVERRIDE}{folder}: no sweep began there; expected a folder such as outputs/sweeps/<time>"
            )
        return folder
    return Path(values.get(SWEEP_DIR) or Path("outputs", "sweeps", datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")))
