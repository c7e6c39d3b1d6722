"""How a training went, apart from its metrics: its pace, its waiting for data, its GPU."""

import time
from contextlib import suppress
from typing import Any

import torch

from tuner.overrides import pictures_at_once
from tuner.training.data import TrainBatches
from tuner.trial import Config, Place

MIB = 2**20


class Conditions:
    """Of one rank, from one evaluation to the next; the ranks of a gang go at one pace."""

    def __init__(self, config: Config, place: Place, batches: TrainBatches) -> None:
        self._share, self._at_once = config["data"]["samples_per_gpu"], pictures_at_once(config)
        self._place, self._batches = place, batches
        self.begin()

    def begin(self) -> None:
        """Training begins, or goes on after an evaluation."""
        self._iterations, self._begun = 0, time.perf_counter()
        self._waited, self._skipped = self._batches.waited, self._batches.skipped
        if self._place.device != "cpu":
            torch.cuda.reset_peak_memory_stats(self._place.device)

    def count(self) -> None:
        """An iteration is done."""
        self._iterations += 1

    def read(self) -> dict[str, float]:
        """Before an evaluation."""
        seconds = time.perf_counter() - self._begun
        return {
            "pictures_per_second": self._iterations * self._share * self._place.ranks / seconds,
            "data_wait_percentage": 100 * (self._batches.waited - self._waited) / seconds,
            "pictures_at_once": self._at_once,
            "accumulation": self._share // self._at_once,
            "skipped_pictures": self._batches.skipped - self._skipped,
            **_gpu(self._place.device),
        }


def _gpu(device: str) -> dict[str, float]:
    """Named as MLflow names a run's system metrics; the use is that of the last second or less."""
    if device == "cpu":
        return {}
    found: dict[str, Any] = {"gpu_memory_usage_megabytes": torch.cuda.max_memory_reserved(device) / MIB}
    with suppress(Exception):  # no reading of NVML may end a training
        found["gpu_utilization_percentage"] = torch.cuda.utilization(device)
    return found
