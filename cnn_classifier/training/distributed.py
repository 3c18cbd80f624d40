"""Distributed training: rank helpers, config broadcast and process launch."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cnn_classifier.config.paths import user_config_dirs
from cnn_classifier.errors import TERMINATED_EXIT_CODE, ClassifierError, ConfigError

T = TypeVar("T")
LAUNCHED_BY_US = "CNN_CLASSIFIER_RANKS"  # environment variable of processes that `launch_processes` started


def get_rank() -> int:
    """Return the rank of this process. Only rank 0 writes files and prints."""
    return int(os.environ.get("RANK", 0))


def get_world_size() -> int:
    """Return the number of processes on all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def torchrun_devices(trainer_config: Mapping[str, Any]) -> dict[str, int | str]:
    """Return the arguments of the Lightning `Trainer` that describe the processes of torchrun.

    Args:
        trainer_config: The `trainer` node of the config.
    """
    local_world_size = int(os.environ["LOCAL_WORLD_SIZE"])
    strategy = str(trainer_config["strategy"])
    return {
        "devices": local_world_size,
        "num_nodes": get_world_size() // local_world_size,
        "strategy": "ddp" if strategy == "auto" else strategy,
    }


def num_processes(trainer_config: Mapping[str, Any]) -> int:
    """Return the number of processes to start on this machine.

    Args:
        trainer_config: The `trainer` node of the config.

    Raises:
        ConfigError: If `trainer.devices` does not contain a number and there is no GPU.
    """
    devices, accelerator = trainer_config["devices"], trainer_config["accelerator"]
    if isinstance(devices, list):
        return len(devices)
    if isinstance(devices, int) and devices >= 1:
        return devices
    if trainer_config["strategy"] == "auto":
        return 1
    import torch

    gpus = 0 if accelerator == "cpu" else torch.cuda.device_count()
    if not gpus:
        raise ConfigError(
            f"trainer.devices={devices} requires a GPU; set the number of processes, for example trainer.devices=2"
        )
    return gpus


def launch_processes(nproc_per_node: int, overrides: Sequence[str]) -> None:
    """Run a training in several processes on this machine, as torchrun does.

    Args:
        nproc_per_node: The number of processes.
        overrides: The overrides of the training, including `run_dir`.

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
    num_threads = str(max(1, (os.cpu_count() or 1) // nproc_per_node))
    environ, handlers = (
        dict(os.environ),
        {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
    )
    os.environ.update({"OMP_NUM_THREADS": num_threads} | environ | {LAUNCHED_BY_US: "1"})
    command = ["-m", "cnn_classifier", "train", *config_dirs, *overrides]
    try:
        elastic_launch(launch_config, sys.executable)(*command)
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


def broadcast_from_rank_zero(compute: Callable[[], T]) -> T:
    """Return the result of a function that only rank 0 calls.

    Args:
        compute: The function; its result must be picklable.

    Raises:
        ClassifierError: In all processes, if the function raises it on rank 0.
    """
    if get_world_size() == 1:
        return compute()
    from torch import distributed

    if not distributed.is_initialized():
        init_process_group()
    result: list[Any] = [None]
    if get_rank() == 0:
        try:
            result = [compute()]
        except ClassifierError as error:
            result = [error]
    distributed.broadcast_object_list(result, src=0)
    if isinstance(result[0], ClassifierError):
        raise result[0]
    return result[0]


def init_process_group() -> None:
    """Initialize the process group.

    Processes restarted by torchrun reuse the rendezvous store, which still holds stale addresses
    (pytorch/pytorch#135712); on one machine, each attempt therefore uses its own prefix. Machines count their attempts
    separately (pytorch/pytorch#108158), so that several machines need `TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1` instead.
    """
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if is_single_node() else "0"
    store, rank, world_size = next(rendezvous("env://"))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore(f"attempt {attempt}", store),
        rank=rank,
        world_size=world_size,
    )


def is_single_node() -> bool:
    """Return whether all processes run on one machine."""
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
