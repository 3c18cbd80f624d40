"""The processes of a training on several devices of this machine."""

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cnn_classifier
from cnn_classifier.config.compose import Config, to_container
from cnn_classifier.config.overrides import quote_override
from cnn_classifier.config.yaml_files import user_config_dirs
from cnn_classifier.errors import INTERNAL_EXIT_CODE, TERMINATED_EXIT_CODE
from cnn_classifier.files import CONFIG_FILE, STATUS_FILE
from cnn_classifier.training.distributed import parse_devices
from cnn_classifier.training.environment import COMMAND_VARIABLE, shell_command
from cnn_classifier.training.status import FAILED, INTERRUPTED, KILLED, RUNNING, Status, read_status

LAUNCHED_BY_US = "CNN_CLASSIFIER_RANKS"  # the start of the command, in the environment of its processes
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def run_distributed(process_count: int, config: Config, overrides: Sequence[str], start_time: float) -> Status:
    """Train in several processes and return the status that rank 0 wrote."""
    run_dir = Path(config.run_dir)
    run_overrides = {"run_dir": run_dir, "resume": config.resume, "sweep.name": config.sweep.name}
    previous_status, launch_time = read_status(run_dir), time.time()
    devices = parse_devices(to_container(config.trainer.devices))
    launch_processes(
        process_count,
        [*overrides, *(f"{key}={quote_override(value)}" for key, value in run_overrides.items() if value)],
        gpus=devices if isinstance(devices, list) else (),
        command=shell_command(overrides),
        start_time=start_time,
    )
    status = read_status(run_dir)
    if not (run_dir / CONFIG_FILE).exists():  # the run did not start
        (run_dir / STATUS_FILE).unlink(missing_ok=True)
    elif previous_status is not None and (run_dir / CONFIG_FILE).stat().st_mtime < launch_time:
        previous_status.write()  # the run was not continued
    if status is None or status == previous_status or status.state in (RUNNING, KILLED):
        last_status = status or Status(run_dir=run_dir, overrides=overrides)
        message = "A training process ended without reporting an error; see the output above"
        return as_failed(last_status, INTERNAL_EXIT_CODE, message)
    if status.state == INTERRUPTED:
        raise SystemExit(status.exit_code) if status.exit_code == TERMINATED_EXIT_CODE else KeyboardInterrupt
    return status


def as_failed(status: Status, exit_code: int, message: str) -> Status:
    """Return a copy of a status with state `failed` and a one-line message."""
    return replace(status, state=FAILED, exit_code=exit_code, message=" ".join(message.split()))


def launch_processes(
    nproc_per_node: int, overrides: Sequence[str], *, gpus: Sequence[int], command: str, start_time: float
) -> None:
    """Run a training in several processes on this machine, as torchrun does.

    Args:
        nproc_per_node: The number of processes.
        overrides: The overrides of the training, including `run_dir`.
        gpus: The indices of the GPUs to use, one per process; empty to use the first ones.
        command: The shell command of the run, for its report.
        start_time: The start of that command in seconds since the epoch.

    Raises:
        KeyboardInterrupt: On Ctrl-C.
        SystemExit: On SIGTERM.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes print their own errors
    launch_config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=nproc_per_node,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    config_dirs = [f"--config-dir={folder}" for folder in user_config_dirs(sys.argv)]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    environ = dict(os.environ)
    added = {COMMAND_VARIABLE: command, LAUNCHED_BY_US: str(start_time)}
    os.environ.update(process_environ(nproc_per_node, gpus) | added)
    arguments = ["-m", "cnn_classifier", "train", *config_dirs, *overrides]
    try:
        elastic_launch(launch_config, sys.executable)(*arguments)
    except ChildFailedError:
        pass  # the caller reads the error from `status.json`
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(TERMINATED_EXIT_CODE) from None
    finally:
        os.environ.clear()
        os.environ.update(environ)
        for number, handler in handlers.items():  # the launcher does not restore them
            signal.signal(number, handler)


def process_environ(nproc_per_node: int, gpus: Sequence[int]) -> dict[str, str]:
    """Return the environment variables that the processes of a training need in addition."""
    num_threads = str(max(1, (os.cpu_count() or 1) // nproc_per_node))
    package_parent = str(Path(cnn_classifier.__file__).parents[1])  # for a checkout that is not installed
    python_path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), package_parent]))
    added = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", num_threads), "PYTHONPATH": python_path}
    if gpus:
        visible = os.environ.get(VISIBLE_GPUS, "").split(",") if VISIBLE_GPUS in os.environ else None
        added[VISIBLE_GPUS] = ",".join(str(index) if visible is None else visible[index] for index in gpus)
    return added
