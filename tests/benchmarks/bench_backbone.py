"""What more centers cost: a training step of each published backbone, beside the paper's form written out.

One image of 512×512, float32, forward and backward; the paper's form takes up to 17 GB. Run it on a machine
that does nothing else:
python tests/benchmarks/bench_backbone.py
"""

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests import clustering_reference
from tests.saved_tensors import kept_storages
from tuner.models import clustering
from tuner.models.context_cluster import ContextCluster

CENTERS = (4, 25, 49)
STEPS = 5
Operator = Callable[..., Tensor]


class Cost(NamedTuple):
    seconds: float
    """The fastest of some steps."""
    saved: float
    """MiB that the forward pass keeps for the backward pass: distinct storages, without the parameters'."""


def main() -> None:
    torch.manual_seed(0)
    table = Table(title=f"Context Cluster, one step of 512×512\n{machine()}")
    for heading in (
        "model",
        "ours",
        "written out",
        "faster",
        "ours, to 4 centers",
        "channels last, to ours",
        "saved",
        "saved, to 4 centers",
    ):
        table.add_column(heading, justify="right")
    for arch in ("small", "medium"):
        ours = measured(arch, clustering.cluster, STEPS)
        channels_last = measured(arch, clustering.cluster, STEPS, torch.channels_last)
        written_out = measured(arch, clustering_reference.cluster, steps=2)
        for centers in CENTERS:
            costs = ours[centers], written_out[centers], ours[CENTERS[0]], channels_last[centers]
            table.add_row(f"{arch} {centers}", *compared(*costs))
    Console(width=120).print(table)


def measured(
    arch: str, operator: Operator, steps: int, layout: torch.memory_format = torch.contiguous_format
) -> dict[int, Cost]:
    """By number of centers. They take turns, so that a disturbance does not meet one alone."""
    backbones = {
        centers: ContextCluster(arch, centers=centers).to(memory_format=layout) for centers in CENTERS
    }
    image = torch.randn(1, 3, 512, 512).contiguous(memory_format=layout)
    with patch("tuner.models.layers.cluster", operator):
        saved = {centers: kept(backbone, image) for centers, backbone in backbones.items()}
        rounds = [
            {centers: step(backbone, image) for centers, backbone in backbones.items()} for _ in range(steps)
        ]
    return {centers: Cost(min(each[centers] for each in rounds), saved[centers]) for centers in CENTERS}


def kept(backbone: ContextCluster, image: Tensor) -> float:
    with kept_storages(backbone) as storages:
        _ = loss(backbone(image))
    return sum(storages.values()) / 2**20


def step(backbone: ContextCluster, image: Tensor) -> float:
    backbone.zero_grad()
    begun = time.perf_counter()
    loss(backbone(image)).backward()
    return time.perf_counter() - begun


def loss(features: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([feature.square().mean() for feature in features]).sum()


def compared(ours: Cost, reference: Cost, fewest: Cost, channels_last: Cost) -> tuple[str, ...]:
    return (
        f"{ours.seconds:.2f} s",
        f"{reference.seconds:.2f} s",
        f"{reference.seconds / ours.seconds:.1f}×",
        f"{ours.seconds / fewest.seconds:.2f}",
        f"{channels_last.seconds / ours.seconds:.2f}",
        f"{ours.saved:.0f} MiB",
        f"{ours.saved / fewest.saved:.3f}",
    )


def machine() -> str:
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if "model name" in line
        ]
        processor = names[0] if names else processor
    load = psutil.getloadavg()[0]
    return (
        f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}, load before {load:.1f}"
    )


if __name__ == "__main__":
    main()
