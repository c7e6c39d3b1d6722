"""Runs the search again and again in virtual time, over curves that were recorded on the same images."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import median

from numbers_kept import CURVES, JOBS

from tuner.search.scheduling import scheduler_for
from tuner.simulation import curves
from tuner.simulation.simulator import simulate
from tuner.simulation.surrogate import Surrogate
from tuner.sizing.trial_config import default_params
from tuner.spec.job import Budget, JobSpec, Search
from tuner.spec.trial import Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory
from tuner.study.history import History
from tuner.study.replication import best
from tuner.study.study import Study
from tuner.training.config import config as configs

SEEDS = range(10)


@dataclass(frozen=True)
class Searches:
    """Holds one entry for each search: its cost in trainings of full length, and the truth about its best trial."""

    costs: list[float]
    ends: list[float]

    @property
    def cost(self) -> float:
        return median(self.costs)

    def ahead_of(self, other: "Searches") -> dict[int, float]:
        """Returns by seed how much better its best trial truly is than the other's."""
        return {seed: one - two for seed, one, two in zip(SEEDS, self.ends, other.ends, strict=True)}


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
    found = list(_searched(job, surrogate))
    return Searches([cost for cost, _ in found], [end for _, end in found])


def _searched(job: JobSpec, surrogate: Surrogate) -> Iterator[tuple[float, float]]:
    default = default_params(job, configs.read(job.config, imports=False))
    full = surrogate.training(Trial(0, default, 0), (job.fidelity.iterations,))[-1].seconds
    for seed in SEEDS:
        seeded = job.model_copy(update={"seed": seed})
        study = Study(seeded, in_memory(seeded, default), scheduler_for)
        *_, last = simulate(study, surrogate, workers=1)
        winner = best(History(seeded, study.records))
        assert winner
        yield last.trial_hours * 3600 / full, surrogate.truth(winner.trial.params)
