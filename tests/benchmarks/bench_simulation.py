"""What searches cost, in virtual time over the recorded curves; and a simulation of ten thousand trials.

python tests/benchmarks/bench_simulation.py [JOB CURVES]
"""

import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from statistics import fmean, median, quantiles
from unittest import mock

from rich.console import Console
from rich.table import Table

from tuner import curves
from tuner.files import read_job
from tuner.job import Budget, JobSpec, Search
from tuner.race import best
from tuner.search.sampling import BY_CHANCE
from tuner.search.scheduling import rule
from tuner.search.simulation import cost_of_near_best, simulate
from tuner.search.store import in_memory
from tuner.search.surrogate import Surrogate
from tuner.study import Study
from tuner.trial import Trial

ROOT = Path(__file__).parents[2]
DEFAULT = {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}
CURVES = ROOT / "configs" / "curves" / "camvid_nano.jsonl"
CURVES_JOB = ROOT / "configs" / "jobs" / "camvid_curves.yaml"
STUDIES, GPUS, TRIALS, NEAR = 30, 4, 60, 0.5
OPTUNAS_BY_CHANCE = 10
"""Trials that no model draws, where Optuna's samplers are left alone."""
console = Console(width=130)


def searches(job: JobSpec) -> Iterator[tuple[str, JobSpec, int]]:
    """Name, job, and how many trials after the default no model draws."""
    iterations, rungs = job.fidelity.iterations, job.fidelity.stops
    end, quarter = (iterations,), (iterations // 4, iterations)
    for name, sampler, scheduler, stops, by_chance in (
        ("random", "random", "none", end, 0),
        ("TPE as Optuna has it", "tpe", "none", end, OPTUNAS_BY_CHANCE),
        ("TPE as Optuna has it, ASHA, all rungs", "tpe", "asha", rungs, OPTUNAS_BY_CHANCE),
        ("TPE", "tpe", "none", end, BY_CHANCE),
        ("TPE, ASHA, all rungs", "tpe", "asha", rungs, BY_CHANCE),
        ("TPE, ASHA, rungs: auto", "tpe", "asha", "auto", BY_CHANCE),
        ("TPE, ASHA, a quarter and the end", "tpe", "asha", quarter, BY_CHANCE),
        ("TPE, Hyperband", "tpe", "hyperband", rungs, BY_CHANCE),
        ("TPE, median", "tpe", "median", rungs, BY_CHANCE),
        ("GP", "gp", "none", end, BY_CHANCE),
        ("GP, ASHA, a quarter and the end", "gp", "asha", quarter, BY_CHANCE),
        ("prior", "prior", "none", end, BY_CHANCE),
        ("prior, ASHA, a quarter and the end", "prior", "asha", quarter, BY_CHANCE),
    ):
        changes = {
            "search": Search(sampler=sampler, scheduler=scheduler),
            "fidelity": job.fidelity.model_copy(update={"rungs": stops}),
            "budget": Budget(trials=TRIALS, seeds=1),
        }
        yield name, job.model_copy(update=changes), by_chance


def costs(job: JobSpec, surrogate: Surrogate) -> Table:
    """GPU-hours in trainings of full length."""
    full = surrogate.training(Trial(0, DEFAULT, 0))[-1].seconds / 3600
    table = Table("search", title=f"{STUDIES} searches each of {TRIALS} trials, {GPUS} at a time", box=None)
    for head in (f"to within {NEAR} of the best", "middle half", "never", "in all", "then short of it by"):
        table.add_column(head, justify="right")
    for name, own, by_chance in searches(job):
        reached, spent, short = [], [], []
        with mock.patch("tuner.search.sampling.BY_CHANCE", by_chance):
            for seed in range(STUDIES):
                seeded = own.model_copy(update={"seed": seed})
                study = Study(seeded, in_memory(seeded, DEFAULT), rule)
                moments = list(simulate(study, surrogate, GPUS))
                reached.append((cost_of_near_best(study, surrogate, moments, NEAR) or inf) / full)
                spent.append(moments[-1].trial_hours / full)
                winner = best(seeded, study.records)
                assert winner
                short.append(surrogate.best_known() - surrogate.truth(winner.trial.params))
        low, middle, high = quantiles([min(each, 1e6) for each in reached], n=4)
        half = f"{low:.1f} … {high:.1f}" if high < 1e5 else f"{low:.1f} … never"
        table.add_row(
            name,
            f"{middle:.2f}",
            half,
            str(reached.count(inf)),
            f"{median(spent):.1f}",
            f"{fmean(short):.2f}",
        )
    return table


def long_study(job: JobSpec, surrogate: Surrogate) -> None:
    changes = {
        "fidelity": job.fidelity.model_copy(update={"rungs": job.fidelity.stops}),
        "budget": Budget(trials=10_000, seeds=1),
    }
    own = job.model_copy(update=changes)
    study = Study(own, in_memory(own, DEFAULT), rule)
    begun, moments = time.perf_counter(), simulate(study, surrogate, workers=256)
    ends = [time.perf_counter() - begun for moment in moments if moment.ended]
    first, last = (ends[1999] - ends[999]) / 1000, (ends[-1] - ends[-1001]) / 1000
    console.print(
        f"10,000 trials on 256 GPUs: {ends[-1]:.0f} s; a trial {1000 * first:.1f} ms after the first 1,000, "
        f"{1000 * last:.1f} ms in the last 1,000: {last / first:.2f} times; the bound is 1.5"
    )


def main() -> None:
    job_file, file = map(Path, sys.argv[1:]) if sys.argv[1:] else (CURVES_JOB, CURVES)
    job = read_job(job_file, pictures_are_here=False)
    surrogate = Surrogate(job, curves.read(file))
    console.print(
        f"curves of {job.name}: noise between seeds {surrogate.noise:.2f}, error where nothing was recorded "
        f"{surrogate.error:.2f}, best known {surrogate.best_known():.2f}"
    )
    console.print(costs(job, surrogate))
    long_study(job, surrogate)


if __name__ == "__main__":
    main()
