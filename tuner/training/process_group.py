"""Connects the ranks of a gang: by NCCL between GPUs, by gloo between CPU processes."""

import os
import socket
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist

from tuner.errors import NoGpu
from tuner.servers.ports import LOOPBACK
from tuner.spec.trial import RankInfo
from tuner.training.gpu_memory import shortage_as_out_of_memory

TIMEOUT = timedelta(minutes=30)
"""Longest wait in a collective; a rank that died is noticed by its gang long before."""


def join(rank: int, ranks: int, address: str, gpus_per_rank: float) -> RankInfo:
    """Blocks until all ranks are there, each on its current GPU.

    Rank 0 listens at `address`, host:port; ranks of one machine may meet in a file instead, file://path.
    Raises NoGpu when GPUs were reserved that CUDA cannot use, OutOfMemory when one has no room for NCCL.
    """
    device = _gpu() if gpus_per_rank > 0 else torch.device("cpu")
    if 0 < gpus_per_rank < 1:
        torch.cuda.set_per_process_memory_fraction(
            gpus_per_rank, device
        )  # trials that share it keep their parts
    if ranks > 1:
        nccl, is_file = gpus_per_rank >= 1, address.startswith("file://")
        for library in ("GLOO", "NCCL"):  # otherwise gloo takes the host name's device, and NCCL the first
            os.environ.setdefault(
                f"{library}_SOCKET_IFNAME", _interface(f"{LOOPBACK}:1" if is_file else address)
            )
        with shortage_as_out_of_memory():
            dist.init_process_group(
                "nccl" if nccl else "gloo",
                init_method=address if is_file else f"tcp://{address}",
                rank=rank,
                world_size=ranks,
                timeout=TIMEOUT,
                device_id=device if nccl else None,
            )
    return RankInfo(rank, ranks, str(device))


def _gpu() -> torch.device:
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        _check_kernels(device)
        return device
    node, built = socket.gethostname(), torch.version.cuda or "no CUDA"
    raise NoGpu(
        f"node {node}: a GPU is reserved for this rank, but CUDA cannot be used there: look at `nvidia-smi` "
        f"and at the driver's version; this PyTorch is built for {built}"
    )


def _check_kernels(device: torch.device) -> None:
    """Raises NoGpu where this PyTorch has no kernels for a GPU as old as this."""
    has = torch.cuda.get_device_capability(device)
    built = [int(arch[3:].rstrip("af")) for arch in torch.cuda.get_arch_list() if arch.startswith("sm_")]
    if built and has < divmod(min(built), 10):
        oldest = ".".join(map(str, divmod(min(built), 10)))
        raise NoGpu(
            f"node {socket.gethostname()}: its GPU has compute capability {has[0]}.{has[1]}, but this PyTorch is "
            f"built for {oldest} and newer: keep trials from the node by resources.labels, or install a PyTorch "
            "that is built for it"
        )


def _interface(address: str) -> str:
    """Returns the network device over which this process reaches host:port."""
    host, _, port = address.rpartition(":")
    family, kind, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        own = probe.getsockname()[0]
    devices = psutil.net_if_addrs().items()
    return next(name for name, addresses in devices if own in [each.address for each in addresses])
