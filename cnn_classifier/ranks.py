"""One training in several processes: who they are, how they come to one configuration, how they are started."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cnn_classifier.errors import TERMINATED_EXIT_CODE, ClassifierError, ConfigError
from cnn_classifier.storage import own_folders

Found = TypeVar("Found")
STARTED = "CNN_CLASSIFIER_RANKS"  # the environment's variable that tells processes that we wait for their status


def rank() -> int:
    """Of this process; the first one writes and tells, the others are silent."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes there are, on all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_among_ranks() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def devices_of(settings: Mapping[str, Any]) -> dict[str, int | str]:
    """What Lightning must be told of the processes that torchrun has started."""
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    strategy = str(settings["strategy"])
    return {
        "devices": here,
        "num_nodes": world_size() // here,
        "strategy": "ddp" if strategy == "auto" else strategy,
    }


def processes_for(settings: Mapping[str, Any]) -> int:
    """How many processes the values of `trainer` ask for on this machine.

    Raises:
        ConfigError: If that cannot be known.
    """
    devices, accelerator = settings["devices"], settings["accelerator"]
    if isinstance(devices, list):
        return len(devices)
    if isinstance(devices, int) and devices >= 1:
        return devices
    if settings["strategy"] == "auto":
        return 1
    import torch

    gpus = 0 if accelerator == "cpu" else torch.cuda.device_count()
    if not gpus:
        raise ConfigError(f"trainer.devices={devices}: there is no GPU; say how many processes, trainer.devices=2")
    return gpus


def start_ranks(processes: int, words: Sequence[str]) -> None:
    """Run a training in so many processes of this machine, as torchrun does; what they say is told here.

    Args:
        processes: How many.
        words: Of its command, the folder of the run among them.

    Raises:
        KeyboardInterrupt: On Ctrl-C.
        SystemExit: On SIGTERM.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what fails tells so itself
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    folders = [f"--config-dir={folder}" for folder in own_folders(sys.argv)]
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    before, handlers = (
        dict(os.environ),
        {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
    )
    os.environ.update({"OMP_NUM_THREADS": threads} | before | {STARTED: "1"})
    command = ["-m", "cnn_classifier", "train", *folders, *words]
    try:
        elastic_launch(launch, sys.executable)(*command)
    except ChildFailedError:
        pass  # its status tells why
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(TERMINATED_EXIT_CODE) from None
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers.items():  # the launcher leaves its own
            signal.signal(number, handler)


def agree(values: Callable[[], Found]) -> Found:
    """What the first process finds, in all of them; alone, that is all it does.

    Raises:
        ClassifierError: In all of them, if the first one does.
    """
    if world_size() == 1:
        return values()
    from torch import distributed

    if not distributed.is_initialized():
        meet()
    found: list[Any] = [None]
    if rank() == 0:
        try:
            found = [values()]
        except ClassifierError as error:
            found = [error]
    distributed.broadcast_object_list(found, src=0)
    if isinstance(found[0], ClassifierError):
        raise found[0]
    return found[0]


def meet() -> None:
    """Find the other processes.

    Those that torchrun starts anew on one machine meet in the same store again, where the addresses of the ones before
    them are yet (pytorch/pytorch#135712); so each attempt has a part of it to itself. Several machines count attempts
    each on its own (pytorch/pytorch#108158): there `TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1` does it.
    """
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if is_on_one_machine() else "0"
    store, number, processes = next(rendezvous("env://"))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore(f"attempt {attempt}", store),
        rank=number,
        world_size=processes,
    )


def is_on_one_machine() -> bool:
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
