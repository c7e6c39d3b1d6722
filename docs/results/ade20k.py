"""Plans the search on ADE20K at full scale: GPU-hours with and without pruning, seeds, and what they would cost."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from numbers_kept import HERE, JOBS
from simulated import searches

from tuner.sizing.seeds_needed import SeedsNeeded, seeds_needed
from tuner.spec.job import JobSpec
from tuner.spec.yaml_files import read_job
from tuner.study.history import History
from tuner.study.replication import rounds

GPUS = 8
SUSTAINED_TFLOPS = 8.0
"""What one A100 is assumed to sustain in these networks; its peak in float32 is 19.5."""
DOLLARS = 2.5
"""The assumed price of an hour of one such GPU in a public cloud."""
LENGTHS = (16_000, 80_000)
"""Iterations of a training: the shipped job's, and the published schedule's."""


@dataclass(frozen=True)
class Planned:
    arch: str
    iterations: int
    training: float
    """GPU-hours of one training, as are all below."""
    all_finished: float
    screened: float
    verdict: float

    @property
    def days(self) -> float:
        """Returns how long search and verdict take on all GPUs."""
        return (self.screened + self.verdict) / GPUS / 24

    @property
    def dollars(self) -> float:
        return (self.screened + self.verdict) * DOLLARS


def steps() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((HERE / "steps.json").read_text())
    return found


def asked() -> JobSpec:
    return read_job(JOBS / "ade20k_small.yaml", images_are_here=False)


def needed() -> SeedsNeeded:
    found = seeds_needed([], "mIoU")
    assert found
    return found


def planned() -> Iterator[Planned]:
    job = asked()
    trials, verdict = job.budget.trials, sum(rounds(History(job, [])))
    screened = searches("screen", trials).cost
    for arch in ("small", "medium"):
        an_image = steps()[arch]["gflops"] / 1000 / SUSTAINED_TFLOPS / 3600
        for iterations in LENGTHS:
            one = an_image * job.resources.global_batch * iterations
            yield Planned(arch, iterations, one, one * trials, one * screened, one * verdict)
