"""Trainings that show something of their gang. Ray's workers import them: this is no test file."""

import json
import os
import time
from pathlib import Path
from typing import NoReturn

import ray
import torch
import torch.distributed as dist
from ray.util import get_node_ip_address

from tuner.errors import Left, NeedsFreshProcess, NoGpu
from tuner.files.paths import AnyPath
from tuner.files.writing import write_json
from tuner.servers.progress import Progress
from tuner.spec.trial import Config, Measurement, RankInfo
from tuner.training import Session, open_training, process_group


def join_without_the_last_rank(rank: int, ranks: int, address: str, gpus_per_rank: float) -> RankInfo:
    """As where one of several nodes cannot use its GPU: the others wait for it."""
    if rank == ranks - 1:
        raise NoGpu("node gpu-7: CUDA cannot be used there")
    return join_on_cpu(rank, ranks, address, gpus_per_rank)


ECC = """CUDA error: uncorrectable ECC error encountered
Search for `cudaErrorECCUncorrectable' in https://docs.nvidia.com/cuda/cuda-runtime-api/ for more information."""


class Collective:
    """Never leaves its collective."""

    def __init__(self, device: str) -> None:
        self._share = torch.ones(1, device=device)

    def step(self, _evaluation_points: tuple[int, ...]) -> NoReturn:
        while True:
            dist.all_reduce(self._share)
            self._share.fill_(1).item()


def open_collective(_config: Config, _folder: Path, rank_info: RankInfo) -> Collective:
    return Collective(rank_info.device)


def join_on_cpu(rank: int, ranks: int, address: str, _gpus_per_rank: float) -> RankInfo:
    """For GPUs that Ray alone believes in."""
    return process_group.join(rank, ranks, address, 0)


def open_noting_the_process(config: Config, folder: Path, rank_info: RankInfo) -> Session:
    training = open_training(config, folder, rank_info)
    (folder / "pid").write_text(str(os.getpid()))
    return training


def open_in_fresh_processes_alone(config: Config, folder: Path, rank_info: RankInfo) -> Session:
    """As on a GPU where every training leaves memory allocated."""
    process = str(os.getpid())
    if any(process == file.read_text() for file in folder.parent.glob("*/pid")):
        raise NeedsFreshProcess("the training before holds 65 MiB of the GPU")
    return open_noting_the_process(config, folder, rank_info)


class OnSickGpu:
    """Fails as a GPU does whose memory is faulty."""

    def step(self, _evaluation_points: tuple[int, ...]) -> NoReturn:
        raise torch.AcceleratorError(ECC)


def open_noting_the_node(config: Config, folder: Path, rank_info: RankInfo) -> Session:
    """Fails on the node with the label gpu=sick alone."""
    labels = ray.get_runtime_context().get_node_labels()
    with (folder.parent / "nodes").open("a") as file:
        file.write(f"{folder.name} {labels['gpu']}\n")
    return OnSickGpu() if labels["gpu"] == "sick" else open_training(config, folder, rank_info)


class Summing:
    """Adds up what all ranks give, iteration by iteration, and keeps the sum as others their weights."""

    def __init__(self, folder: AnyPath, rank_info: RankInfo) -> None:
        self._file, self._rank_info = folder / "progress.json", rank_info
        self.progress = Progress()
        self._iteration, self._sum, self._begun = 0, 0.0, 0
        if self._file.exists():
            self._iteration, self._sum = json.loads(self._file.read_text())
            self._begun = self._iteration

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement:
        until = next(stop for stop in evaluation_points if stop > self._iteration)
        for _ in range(self._iteration, until):
            self._begin()
            share = torch.tensor([float(self._rank_info.rank + 1)])
            dist.all_reduce(share)
            self._sum += share.item()
            self._iteration += 1
        addresses: list[object] = [None] * self._rank_info.ranks
        dist.all_gather_object(addresses, get_node_ip_address())
        self._save()
        system_metrics = {"begun_at": self._begun, "nodes": len(set(addresses))}
        return Measurement(until, {"mIoU": self._sum}, seconds=1.0, system_metrics=system_metrics)

    def _begin(self) -> None:
        """Every rank notes where it leaves."""
        try:
            self.progress.begin()
        except Left:
            write_json(self._file.with_name(f"left_{self._rank_info.rank}.json"), self._iteration)
            self._save()
            dist.barrier()
            raise

    def _save(self) -> None:
        if self._rank_info.rank == 0:
            write_json(self._file, [self._iteration, self._sum])


class Stuck(Summing):
    """Waits for ever for a file on its last rank, as on a dead file server."""

    def _begin(self) -> None:
        if self._rank_info.rank == self._rank_info.ranks - 1 and self._iteration == 3:
            wait_for_file()
        super()._begin()


def wait_for_file() -> None:
    time.sleep(3600)


def open_stuck(_config: Config, folder: AnyPath, rank_info: RankInfo) -> Stuck:
    return Stuck(folder, rank_info)


def open_summing(_config: Config, folder: AnyPath, rank_info: RankInfo) -> Summing:
    return Summing(folder, rank_info)
