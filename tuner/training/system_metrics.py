"""Measures how fast a training goes: its pace, its waiting for data, its GPU."""

import time
from contextlib import suppress
from typing import Any

import torch

from tuner.sizing.trial_config import images_at_once
from tuner.spec.trial import Config, RankInfo
from tuner.training.data.data import TrainBatches

MIB = 2**20


class SystemMetrics:
    """Measures one rank, from one evaluation to the next; the ranks of a gang go at one pace."""

    def __init__(self, config: Config, rank_info: RankInfo, batches: TrainBatches) -> None:
        self._share, self._at_once = config["data"]["samples_per_gpu"], images_at_once(config)
        self._rank_info, self._batches = rank_info, batches
        self.begin()

    def begin(self) -> None:
        """Marks that training begins, or continues after an evaluation."""
        self._iterations, self._begun = 0, time.perf_counter()
        self._waited, self._skipped = self._batches.waited, self._batches.skipped
        if self._rank_info.device != "cpu":
            torch.cuda.reset_peak_memory_stats(self._rank_info.device)

    def count(self) -> None:
        """Marks that an iteration is done."""
        self._iterations += 1

    def read(self) -> dict[str, float]:
        """Returns the system metrics since `begin`; to be called before an evaluation."""
        seconds = time.perf_counter() - self._begun
        images = self._iterations * self._share * self._rank_info.ranks
        return {
            **({"images_per_second": images / seconds} if images else {}),
            "data_wait_percentage": 100 * (self._batches.waited - self._waited) / seconds,
            "images_at_once": self._at_once,
            "accumulation": self._share // self._at_once,
            "skipped_images": self._batches.skipped - self._skipped,
            **_gpu(self._rank_info.device),
        }


def _gpu(device: str) -> dict[str, float]:
    """Returns what NVML says, named as MLflow names a run's system metrics."""
    if device == "cpu":
        return {}
    found: dict[str, Any] = {"gpu_memory_usage_megabytes": torch.cuda.max_memory_reserved(device) / MIB}
    with suppress(Exception):  # no reading of NVML may end a training
        found["gpu_utilization_percentage"] = torch.cuda.utilization(device)
    return found
