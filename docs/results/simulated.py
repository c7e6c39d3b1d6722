"""Runs the search again and again in virtual time, over curves that were recorded on the same images."""

from dataclasses import dataclass
from functools import cache
from statistics import median

from numbers_kept import CURVES, JOBS

from tuner.simulation import curves
from tuner.simulation.surrogate import Surrogate
from tuner.simulations import searched
from tuner.sizing.trial_config import default_params
from tuner.spec.job import Budget, Search
from tuner.spec.yaml_files import read_job
from tuner.training.config import config as configs

SEEDS = range(10)


@dataclass(frozen=True)
class Searches:
    """Holds one entry for each search: its cost in trainings of full length, and its best trial's gain in truth."""

    costs: list[float]
    gains: list[float]

    @property
    def cost(self) -> float:
        return median(self.costs)

    def ahead_of(self, other: "Searches") -> dict[int, float]:
        """Returns by seed how much better its best trial truly is than the other's."""
        return {seed: one - two for seed, one, two in zip(SEEDS, self.gains, other.gains, strict=True)}


@cache
def searches(scheduler: str, trials: int, with_points: bool = True) -> Searches:
    """Searches `pvt.yaml` over the recorded curves, once with each seed."""
    asked = read_job(JOBS / "record_camvid_pvt.yaml", images_are_here=False)
    surrogate = Surrogate(asked, curves.read(CURVES / "camvid_pvt.jsonl"))
    full = asked.fidelity.iterations
    points = (max(1, full // 16), full) if scheduler == "screen" else (full,)
    changes = {
        "search": Search(scheduler=scheduler),
        "fidelity": asked.fidelity.model_copy(update={"rungs": points}),
        "budget": Budget(trials=trials, seeds=1),
    }
    job = asked.model_copy(update=changes)
    if not with_points:
        job = job.model_copy(update={"space": job.space.model_copy(update={"initial_points": ()})})
    default = default_params(job, configs.read(job.config, imports=False))
    costs, gains = zip(*(searched(job, default, surrogate, seed) for seed in SEEDS), strict=True)
    return Searches(list(costs), list(gains))
