"""`train`: Hydra composes the configuration and runs its jobs, one or a sweep of them.

Nothing here imports torch before the configuration is checked and the folder scanned.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cnn_classifier.config import COMPOSITION_ERRORS, Config, check, explain, plain
from cnn_classifier.errors import (
    INTERNAL_EXIT_CODE,
    TERMINATED_EXIT_CODE,
    ClassifierError,
    ConfigError,
    StorageError,
    complain,
)
from cnn_classifier.storage import CONF_DIR
from cnn_classifier.sweep.summary import Outcome, table, write_table


def train_command(words: Sequence[str], *, debug: bool) -> int:
    """Run `train` with Hydra's own command line: overrides, `-m`, `--cfg job`, `--help`, completion.

    Returns:
        The exit code; of a sweep, that of the first run that failed.
    """
    outcomes: list[Outcome] = []
    sweep_dirs: list[Path] = []

    def job(config: Config) -> float | None:
        settings = HydraConfig.get()
        if settings.mode is RunMode.MULTIRUN:
            sweep_dirs.append(Path(settings.sweep.dir))
        run_dir = Path(settings.runtime.output_dir)
        outcomes.append(run_job(config, run_dir, list(settings.overrides.task), debug=debug))
        if outcomes[-1].exit_code:
            complain(outcomes[-1].message, outcomes[-1].exit_code)
        return outcomes[-1].val_accuracy  # what a sweeper optimises

    argv, sys.argv = sys.argv, [sys.argv[0], *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting with 1
    try:
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(job)()
    except (*COMPOSITION_ERRORS, ValueError) as error:  # Hydra's own; those of a job are in its outcome
        raise explain(error, words) from error
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}; choose another folder with run_dir=PATH") from error
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        sys.argv = argv
        if sweep_dirs and outcomes:
            sum_up(sweep_dirs[0], outcomes)
    return next((outcome.exit_code for outcome in outcomes if outcome.exit_code), 0)


def run_job(config: Config, run_dir: Path, overrides: list[str], *, debug: bool) -> Outcome:
    """One training, from checks to report; a failure becomes part of the outcome, so that a sweep goes on."""
    try:
        config.run_dir = str(run_dir)
        check(config, overrides)

        from cnn_classifier.data.options import DatasetOptions
        from cnn_classifier.data.source import scan_source

        scan = scan_source(DatasetOptions(**plain(config.dataset)))

        from cnn_classifier.train import train  # only now: torch takes seconds to import

        result = train(config, scan)
    except ClassifierError as error:
        return Outcome(run_dir, overrides, error.exit_code, str(error))
    except COMPOSITION_ERRORS as error:
        return Outcome(run_dir, overrides, ConfigError.exit_code, str(explain(error, overrides)))
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into an exit with 1
            raise error.__context__ from None
        complain("terminated", TERMINATED_EXIT_CODE)  # Lightning ends with 0 on SIGTERM
        raise SystemExit(TERMINATED_EXIT_CODE) from None
    except Exception as error:  # whatever ends one run of a sweep must not end the others
        if debug:
            raise
        told = f"{type(error).__name__}: {error} (this is a bug, or a library's refusal; --debug shows where)"
        return Outcome(run_dir, overrides, INTERNAL_EXIT_CODE, told)
    finally:
        remove_if_empty(run_dir)  # Hydra makes the folder of a run that never began, or that resumed elsewhere
    print(headline(result.run_dir, result.checkpoint, result.report))
    val, test = result.report["val"], result.report["test"]
    return Outcome(
        result.run_dir,
        overrides,
        val_accuracy=val["accuracy"],
        val_loss=val["loss"],
        test_accuracy=test["accuracy"],
        seconds=result.report["timing"]["total_seconds"],
    )


def sum_up(sweep_dir: Path, outcomes: Sequence[Outcome]) -> None:
    """Print the table of a sweep and write it; a sweep of which nothing began leaves no folder."""
    print(f"\n{table(outcomes)}")
    if any(outcome.run_dir.exists() for outcome in outcomes):
        write_table(sweep_dir / "summary.csv", outcomes)
        print(sweep_dir / "summary.csv")
    else:
        (sweep_dir / "multirun.yaml").unlink(missing_ok=True)
        remove_if_empty(sweep_dir)


def headline(run_dir: Path, checkpoint: Path, report: dict[str, Any]) -> str:
    """The numbers that matter, and where everything lies."""
    test, seconds = report["test"], report["timing"]["total_seconds"]
    folder, best = shown(run_dir), shown(checkpoint)
    beside_python = Path(sys.executable).with_name("cnn-classifier")  # where no environment is activated
    command = "cnn-classifier" if shutil.which("cnn-classifier") else shown(beside_python)
    return (
        f"\ntest accuracy {test['accuracy']:.4f}  F1 (macro) {test['f1_macro']:.4f}  loss {test['loss']:.4f}"
        f"  in {seconds:.0f} s\n"
        f"  report      {folder / 'report.html'}, numbers in {folder / 'report.json'}\n"
        f"  checkpoint  {best}\n"
        f"  use it      {command} predict {best} IMAGE|FOLDER"
    )


def shown(path: Path) -> Path:
    """A path as one would type it here."""
    whole = path.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else path


def remove_if_empty(folder: Path) -> None:
    """Remove a folder and the folders above it, up to the current one, as long as they are empty."""
    here = Path.cwd()
    for candidate in (folder, *folder.parents):
        if candidate == here or candidate in here.parents or (candidate != folder and here not in candidate.parents):
            return
        try:
            candidate.rmdir()
        except OSError:
            return
