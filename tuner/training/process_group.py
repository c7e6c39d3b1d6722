"""How the ranks of a gang find each other: nccl between GPUs, gloo between CPU processes."""

import os
import socket
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist

from tuner.errors import Crashed
from tuner.trial import Place

TIMEOUT = timedelta(minutes=30)
"""Longest wait in a collective; a rank that died is noticed by its gang long before."""

KEPT = 64 * 2**20
"""Bytes of a GPU that PyTorch may keep for itself between trainings, for cuBLAS mostly."""


def join(rank: int, ranks: int, address: str, gpus_per_rank: float) -> Place:
    """Blocks until all ranks are there, each on its current GPU; rank 0 listens at `address`, host:port."""
    on_gpu = gpus_per_rank > 0 and torch.cuda.is_available()
    device = f"cuda:{torch.cuda.current_device()}" if on_gpu else "cpu"
    if ranks > 1:
        backend = "nccl" if on_gpu and gpus_per_rank >= 1 else "gloo"
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(address))  # else gloo takes the host name's
        dist.init_process_group(
            backend, init_method=f"tcp://{address}", rank=rank, world_size=ranks, timeout=TIMEOUT
        )
    return Place(rank, ranks, device)


def _interface(address: str) -> str:
    """The network device over which this process reaches host:port."""
    host, _, port = address.rpartition(":")
    family, kind, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        own = probe.getsockname()[0]
    devices = psutil.net_if_addrs().items()
    return next(name for name, addresses in devices if own in [each.address for each in addresses])


def check_memory_is_back(place: Place) -> None:
    """Raises Crashed when an earlier training of this process still holds memory of the GPU."""
    if place.device == "cpu":
        return
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated(place.device)
    if held > KEPT:
        raise Crashed(f"the training before holds {held / 2**20:.0f} MiB of the GPU: a new process is needed")
