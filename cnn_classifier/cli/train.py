"""The `train` command: single runs and sweeps through Hydra, and a help page from `conf/`, faster than Hydra's."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from cnn_classifier.config.compose import Config
from cnn_classifier.config.hydra_errors import COMPOSITION_ERRORS, translate_hydra_error
from cnn_classifier.config.overrides import allow_existing, quote_override
from cnn_classifier.config.shorthand import check_multirun_options, expand_arguments
from cnn_classifier.config.yaml_files import CONF_DIR, check_yaml_files, user_config_dirs
from cnn_classifier.errors import ConfigError, StorageError, print_error
from cnn_classifier.files import STATUS_FILE
from cnn_classifier.sweep.job import run_job
from cnn_classifier.sweep.leaderboard import MULTIRUN_YAML, RESUME_OVERRIDE, Leaderboard, job_overrides
from cnn_classifier.training.distributed import get_rank
from cnn_classifier.training.status import Status, sweep_resume_hint

EXAMPLES = """\
Train an image classifier on a folder of images.

  python train.py                                         train on the embedded handwritten digits
  python train.py photos                                  train on a folder, archive, CSV or URL
  python train.py photos model=pretrained run_dir=first   fine-tune a network, name the run
  python train.py dataset=cats_dogs optimizer.lr=3e-4     choose a dataset, set a value
  python train.py -m model=baseline,cnn seed=1,2,3        sweep over all combinations

Select an option with group=option, and set a value with key=value. --cfg job prints all values.
"""
FLAGS = """\
  -m, --multirun         run every combination of comma-separated values
  -c, --cfg job          print the configuration and exit; --resolve resolves interpolations
  -cd, --config-dir DIR  add a folder with your own groups and options
  --quiet                print warnings and errors only
  --debug                print the traceback of an error
  --hydra-help           list the other options of Hydra

Tab completion: eval "$(python train.py -sc install=bash)"
"""
SWEEP_DIR, SWEEP_SUBDIR = "hydra.sweep.dir=", "hydra.sweep.subdir="


def format_train_help(argv: Sequence[str] = ()) -> str:
    """Format the help: examples, every option of every config group with its description, and flags.

    Args:
        argv: The arguments of the command; the groups in `--config-dir` are listed, too.
    """
    options: dict[str, dict[str, str]] = {}  # group -> "group=option" -> description
    for folder in (CONF_DIR, *user_config_dirs(argv)):
        for path in sorted([*folder.glob("*/*.yaml"), *folder.glob("hydra/*/*.yaml")]):
            group = path.parent.relative_to(folder).as_posix()
            options.setdefault(group, {})[f"{group}={path.stem}"] = read_description(path)
    name_width = max(len(name) for group in options.values() for name in group)
    width = max(shutil.get_terminal_size((120, 24)).columns, name_width + 30)
    indent = " " * (name_width + 4)
    wrapper = textwrap.TextWrapper(width, "  ", indent, break_long_words=False, break_on_hyphens=False)
    blocks = [EXAMPLES]
    for group in sorted(options):
        entries = [wrapper.fill(f"{name:<{name_width}}  {text}") for name, text in sorted(options[group].items())]
        blocks.append("\n".join([group, *entries, ""]))
    return "\n".join([*blocks, FLAGS])


def read_description(path: Path) -> str:
    """Return the first comment of a YAML file that is not a `@package` directive."""
    match = re.search(r"^# ([^@\n].*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else ""


def train_command(argv: Sequence[str], start_time: float, *, debug: bool) -> int:
    """Run `train` with the command line of Hydra: overrides, `-m`, `--cfg job`, completion.

    Args:
        argv: The arguments after `train`.
        start_time: The start of the command in seconds since the epoch.
        debug: Whether to print tracebacks.

    Returns:
        The exit code. For a sweep, it is that of the first job that failed.
    """
    check_yaml_files(*user_config_dirs(argv))
    is_sweep = not {"-m", "--multirun"}.isdisjoint(argv := expand_arguments(argv))
    check_multirun_options(argv, is_sweep=is_sweep)
    leaderboard = Leaderboard(resolve_sweep_dir(argv)) if is_sweep else None
    statuses: list[Status] = []

    def run_task(config: Config) -> float | None:
        hydra_config = HydraConfig.get()
        # Not resolved: an override may contain interpolations.
        task_overrides: Any = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
        run_single = partial(run_job, start_time=start_time, keep_status=False)
        run_function = leaderboard.run if leaderboard else run_single
        run_dir = Path(hydra_config.runtime.output_dir)
        statuses.append(run_function(config, run_dir, job_overrides(task_overrides), debug=debug))
        if statuses[-1].exit_code and not get_rank():
            print_error(statuses[-1].message, statuses[-1].exit_code)
        return statuses[-1].val_accuracy  # the objective of a sweeper

    try:
        run_hydra(run_task, with_sweep_dir(argv, leaderboard.sweep_dir) if leaderboard else argv)
    except KeyboardInterrupt as error:
        hint = sweep_resume_hint(leaderboard.sweep_dir) if leaderboard else ""
        raise KeyboardInterrupt(str(error) or hint) from None
    finally:
        statuses = leaderboard.finalize() if leaderboard else statuses
    return next((status.exit_code for status in statuses if status.exit_code), 0)


def run_hydra(task: Callable[[Config], float | None], argv: Sequence[str]) -> None:
    """Run a task with `hydra.main`, which reads `sys.argv`.

    Raises:
        ConfigError: If the config cannot be composed.
        StorageError: If the run directory cannot be created.
    """
    original_argv, sys.argv = sys.argv, [sys.argv[0], *allow_existing(argv)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of exiting with 1
    try:
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(task)()
    except (*COMPOSITION_ERRORS, YAMLError, ValueError) as error:  # of Hydra; errors of a job are in its status
        raise translate_hydra_error(error, argv) from error
    except RecursionError as error:
        config_dirs = ", ".join(map(str, user_config_dirs(argv))) or CONF_DIR
        raise ConfigError(f"The defaults lists in {config_dirs} form a cycle; remove one of the entries.") from error
    except OSError as error:
        raise StorageError(
            f"Cannot create {error.filename}: {error.strerror}. Choose another directory with run_dir=PATH."
        ) from error
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        sys.argv = original_argv


def with_sweep_dir(argv: Sequence[str], sweep_dir: Path) -> list[str]:
    """Insert the directory of the sweep before the first override; Hydra requires all overrides to be adjacent."""
    others = [argument for argument in argv if not argument.startswith(SWEEP_DIR)]
    insert_at = next(
        (index for index, argument in enumerate(others) if "=" in argument and not argument.startswith("-")),
        len(others),
    )
    return [*others[:insert_at], f"{SWEEP_DIR}{quote_override(sweep_dir)}", *others[insert_at:]]


def resolve_sweep_dir(argv: Sequence[str]) -> Path:
    """Return the directory of the sweep: that of the sweep to resume, the configured one or a new one.

    Raises:
        ConfigError: If there is no sweep to resume, or the jobs would not be directly inside the directory.
    """
    for argument in argv:
        if (argument.startswith(SWEEP_DIR) and "${" in argument) or (
            argument.startswith(SWEEP_SUBDIR) and "/" in argument
        ):
            raise ConfigError(f"{argument} is not supported: expected a plain name without interpolation or /")
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
                f"{RESUME_OVERRIDE}{folder} is not the directory of a sweep: expected one such as outputs/sweeps/<time>"
            )
        return folder
    folder = Path(values.get(SWEEP_DIR) or Path("outputs", "sweeps", datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")))
    check_new_sweep_dir(folder)
    return folder


def check_new_sweep_dir(folder: Path) -> None:
    """Raise ConfigError if a new sweep would be mixed with another one or with other files."""
    if (folder / MULTIRUN_YAML).exists() or any(folder.glob(f"*/{STATUS_FILE}")):
        raise ConfigError(
            f"{SWEEP_DIR}{folder} holds a sweep: continue it with {RESUME_OVERRIDE}{folder}, or choose another name"
        )
    others = [path.name for path in folder.glob("[!.]*") if not path.name.startswith("study.log")]
    if others:
        raise ConfigError(f"{SWEEP_DIR}{folder} contains other files, such as {min(others)}: expected a new directory")
