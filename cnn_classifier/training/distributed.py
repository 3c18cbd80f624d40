"""Distributed training: rank helpers, the number of processes, and config broadcast."""

import os
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from cnn_classifier.errors import ClassifierError, ConfigError

T = TypeVar("T")
# The files of drivers for NVIDIA (also Jetson), AMD, Intel, and GPUs in WSL and virtual machines.
DEVICE_FILES = ("nv*", "kfd", "dri", "dxg", "accel*")


def get_rank() -> int:
    """Return the rank of this process. Only rank 0 writes files and prints."""
    return int(os.environ.get("RANK", 0))


def get_world_size() -> int:
    """Return the number of processes on all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def resolve_processes(trainer_config: MutableMapping[str, Any]) -> int:
    """Return the number of processes to start on this machine.

    If it is 1, `devices`, `num_nodes` and `strategy` are set to what the `Trainer` of this process needs: Lightning
    must not start processes itself, since it would repeat `sys.argv`, which is not the command of this run.

    Args:
        trainer_config: The `trainer` node of the config, which is modified.

    Raises:
        ConfigError: If this machine does not have the accelerator or the devices.
    """
    if is_torchrun():
        check_accelerator(trainer_config["accelerator"])
        trainer_config["devices"] = local_world_size = int(os.environ["LOCAL_WORLD_SIZE"])
        trainer_config["num_nodes"] = get_world_size() // local_world_size
        if trainer_config["strategy"] == "auto":
            trainer_config["strategy"] = "ddp"
        return 1
    if trainer_config["num_nodes"] > 1:
        raise ConfigError(
            f"trainer.num_nodes={trainer_config['num_nodes']}: start the command with torchrun on each machine, which "
            "sets it; see docs/sweeps.md"
        )
    devices: Any = parse_devices(trainer_config["devices"])
    if devices != 1 or trainer_config["strategy"] != "auto" or trainer_config["accelerator"] not in ("auto", "cpu"):
        devices = resolve_devices(devices, trainer_config)
    num_processes = devices if isinstance(devices, int) else len(devices)
    if num_processes == 1:
        trainer_config["devices"] = devices
    return num_processes


def resolve_devices(devices: int | list[int] | Literal["all"], trainer_config: Mapping[str, Any]) -> int | list[int]:
    """Return the number of devices, or the indices of GPUs, that `devices` means on this machine.

    Raises:
        ConfigError: If this machine does not have them.
    """
    num_gpus = check_accelerator(trainer_config["accelerator"])
    is_ddp, given = trainer_config["strategy"] != "auto", trainer_config["devices"]
    if not num_gpus:
        if devices == "all" and given == "auto" and not is_ddp:
            return 1
        if not isinstance(devices, int):
            raise ConfigError(
                f"trainer.devices={given} requires a GPU; set the number of processes, for example trainer.devices=2"
            )
        if trainer_config["sync_batchnorm"] and (is_ddp or devices > 1):
            raise ConfigError("trainer.sync_batchnorm=true requires GPUs; remove it to train on the CPU")
        return devices
    if devices == "all":
        return num_gpus
    if (max(devices) if isinstance(devices, list) else devices - 1) >= num_gpus:
        raise ConfigError(f"trainer.devices={given}: this machine has {num_gpus} GPU(s), with indices from 0")
    return devices


def check_accelerator(accelerator: str) -> int:
    """Return the number of GPUs that `trainer.accelerator` selects, 0 for the CPU.

    Raises:
        ConfigError: If this machine has no such accelerator.
    """
    found, count = find_accelerator() if accelerator != "cpu" else ("cpu", 0)
    if accelerator not in ("auto", found) and not (accelerator == "gpu" and found in ("cuda", "mps")):
        raise ConfigError(
            f"trainer.accelerator={accelerator}: PyTorch finds no such device on this machine; use trainer=auto or "
            "trainer=cpu, or install a PyTorch build that supports the device (the command doctor lists devices)"
        )
    return count


def find_accelerator() -> tuple[str, int]:
    """Return the type and number of the available accelerators, `("cpu", 0)` if there are none."""
    if sys.platform == "linux" and not any(match for name in DEVICE_FILES for match in Path("/dev").glob(name)):
        return "cpu", 0  # without the import of torch, which takes a second or more
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    return ("cpu", 0) if device is None else (device.type, torch.accelerator.device_count())


def parse_devices(devices: int | str | Sequence[int]) -> int | list[int] | Literal["all"]:
    """Return the number of devices, their indices, or `all`, from any spelling that Lightning accepts.

    Raises:
        ConfigError: If the value has another form.
    """
    if devices in ("auto", -1, "-1"):
        return "all"
    if isinstance(devices, str) and re.fullmatch(r"\d+(, ?\d+)*,?", devices) and "," in devices:
        devices = [int(index) for index in devices.split(",") if index]
    elif isinstance(devices, str) and devices.isdecimal():
        devices = int(devices)
    is_valid = devices >= 1 if isinstance(devices, int) else not isinstance(devices, str) and len(set(devices))
    if not is_valid or isinstance(devices, str) or (not isinstance(devices, int) and min(devices) < 0):
        raise ConfigError(
            f"trainer.devices={devices} is unknown: expected a number, auto, -1, or a list of GPU indices such as [0,1]"
        )
    return devices if isinstance(devices, int) else list(dict.fromkeys(devices))


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
