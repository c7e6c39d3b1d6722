"""What searches cost, in virtual time over the recorded curves; and a simulation of ten thousand trials.

python tests/benchmarks/bench_simulation.py [JOB CURVES]
"""

import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from statistics import median, quantiles
from unittest import mock

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tuner.search.samplers import BY_CHANCE
from tuner.search.scheduling import scheduler_for
from tuner.simulation import curves
from tuner.simulation.simulator import cost_of_near_best, idle_share, simulate
from tuner.simulation.surrogate import Surrogate
from tuner.sizing.trial_config import default_params
from tuner.spec.job import Budget, JobSpec, Search
from tuner.spec.space import Params
from tuner.spec.trial import Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory
from tuner.study.history import History
from tuner.study.replication import best
from tuner.study.study import Study
from tuner.training.config import config as configs

ROOT = Path(__file__).parents[2]
RECORDED = [
    (ROOT / "configs" / "jobs" / f"{job}.yaml", ROOT / "configs" / "curves" / f"{file}.jsonl")
    for job, file in (
        ("record_camvid_pvt", "camvid_pvt"),
        ("record_camvid_recipe", "camvid_recipe"),
        ("results_finished", "results_finished"),
        ("record_toy_pvt", "toy_pvt"),
    )
]
"""Each file of curves that searches are simulated over, after the job that it was recorded for."""
STUDIES, TRIALS, NEAR = 30, 60, 0.5
GPUS = (1, 4, 16)
FINISHED = 3
"""The trials that i-epoch trains to the end."""
NEVER, EARLIER = 1e5, "tpe, asha at a quarter: the earlier default"
OPTUNAS_BY_CHANCE = 10
"""Trials that no model draws, where Optuna's samplers are left alone."""
console = Console(width=130)


def searches(job: JobSpec) -> Iterator[tuple[str, JobSpec, int]]:
    """Name, job, and how many trials after the default no model draws."""
    full = job.fidelity.iterations
    rungs, end, quarter, sixteenth = (
        tuple(sorted({max(1, full // parts) for parts in parts_of}))
        for parts_of in ((16, 8, 4, 2, 1), (1,), (4, 1), (16, 1))
    )
    for name, sampler, scheduler, points, prune_by, by_chance in (
        ("random", "random", "none", end, "metric", 0),
        ("Optuna's TPE", "tpe", "none", end, "metric", OPTUNAS_BY_CHANCE),
        ("Optuna's TPE, ASHA", "tpe", "asha", rungs, "metric", OPTUNAS_BY_CHANCE),
        (EARLIER, "tpe", "asha", quarter, "metric", BY_CHANCE),
        ("random, screen", "random", "screen", sixteenth, "auto", 0),
        ("tpe, screen: the default", "tpe", "screen", sixteenth, "auto", BY_CHANCE),
    ):
        fidelity = job.fidelity.model_copy(update={"rungs": points, "prune_by": prune_by})
        changes = {
            "search": Search(sampler=sampler, scheduler=scheduler),
            "fidelity": fidelity,
            "budget": Budget(trials=TRIALS, seeds=1),
            "space": job.space.model_copy(update={"initial_points": ()}),
        }
        yield name, job.model_copy(update=changes), by_chance


def i_epoch(surrogate: Surrogate, job: JobSpec, seed: int) -> tuple[float, float, float]:
    """Trains all drawings to a sixteenth, then the best few by loss to the end (Egele et al., arXiv 2307.15422).

    Returns the hours to within NEAR of the best, the hours in all and how short of the best the winner is.
    """
    changes = {"seed": seed, "search": Search(sampler="random", scheduler="none")}
    aimless = job.model_copy(update=changes | {"space": job.space.model_copy(update={"initial_points": ()})})
    default, full = default_of(job), job.fidelity.iterations
    store, short = in_memory(aimless, default), inf
    drawn = [store.draw() for _ in range(TRIALS)]
    curves_of = [surrogate.training(trial, (max(1, full // 16), full)) for trial in drawn]
    spent, reached, looks = sum(early.seconds for early, _ in curves_of), inf, -inf
    for early, end in sorted(curves_of, key=lambda curve: curve[0].metrics["loss"])[:FINISHED]:
        spent += end.seconds - early.seconds
        if (value := end.metrics[job.objective.metric]) > looks:
            looks = value
            params = next(t.params for t, c in zip(drawn, curves_of, strict=True) if c[1] is end)
            short = surrogate.best_known - surrogate.truth(params)
        if short <= NEAR:
            reached = min(reached, spent)
    return reached / 3600, spent / 3600, short


def default_of(job: JobSpec) -> Params:
    return default_params(job, configs.read(job.config, imports=False))


def floor(job: JobSpec, surrogate: Surrogate) -> float:
    """The least that a search can cost which screens four trials and finishes one, if that one is always near."""
    four = surrogate.training(
        Trial(0, default_of(job), 0), (job.fidelity.iterations // 16, job.fidelity.iterations)
    )
    return (4 * four[0].seconds + four[1].seconds - four[0].seconds) / _full_length(job, surrogate) / 3600


def _full_length(job: JobSpec, surrogate: Surrogate) -> float:
    """The hours of the default, evaluated at the end alone."""
    return surrogate.training(Trial(0, default_of(job), 0), (job.fidelity.iterations,))[-1].seconds / 3600


def costs(job: JobSpec, surrogate: Surrogate, gpus: int) -> Table:
    """GPU-hours in trainings of full length; quantiles over the searches."""
    full, default = _full_length(job, surrogate), default_of(job)
    table = Table("search", title=f"{STUDIES} searches each of {TRIALS} trials, {gpus} at a time", box=None)
    for head in (f"to within {NEAR} of the best", "middle half", "never", "in all", "then short of it by"):
        table.add_column(head, justify="right")
    earlier: list[float] = []
    for name, own, by_chance in searches(job):
        reached, spent, short = [], [], []
        with mock.patch("tuner.search.samplers.BY_CHANCE", by_chance):
            for seed in range(STUDIES):
                seeded = own.model_copy(update={"seed": seed})
                study = Study(seeded, in_memory(seeded, default), scheduler_for)
                moments = list(simulate(study, surrogate, gpus))
                reached.append((cost_of_near_best(study, surrogate, moments, NEAR) or inf) / full)
                spent.append(moments[-1].trial_hours / full)
                winner = best(History(seeded, study.records))
                assert winner
                short.append(surrogate.best_known - surrogate.truth(winner.trial.params))
        earlier = reached if name == EARLIER else earlier
        _add_row(table, name, reached, spent, short)
    _add_ratio(table, reached, earlier)
    found = [i_epoch(surrogate, job, seed) for seed in range(STUDIES)]
    reached, spent = ([each[place] / full for each in found] for place in (0, 1))
    _add_row(table, "i-epoch: random to 1/16, the best by loss", reached, spent, [each[2] for each in found])
    return table


def _add_row(table: Table, name: str, reached: list[float], spent: list[float], short: list[float]) -> None:
    low, middle, high = _quartiles(reached)
    never, in_all = str(reached.count(inf)), f"{median(spent):.1f}"
    half = f"{_cost(low)} … {_cost(high)}"
    table.add_row(name, _cost(middle), half, never, in_all, f"{median(short):.2f}")


def _cost(reached: float) -> str:
    return f"{reached:.2f}" if reached < NEVER / 2 else "never"


def _add_ratio(table: Table, ours: list[float], earlier: list[float]) -> None:
    ratios = [a / b for a, b in zip(_quartiles(ours), _quartiles(earlier), strict=True)]
    table.add_row(
        "  the default to the earlier one", f"{ratios[1]:.2f}", f"{ratios[0]:.2f} … {ratios[2]:.2f}"
    )


def _quartiles(reached: list[float]) -> list[float]:
    return quantiles([min(each, NEVER) for each in reached], n=4)


def idle(job: JobSpec, surrogate: Surrogate) -> None:
    """The share of 64 GPUs that stand idle: while there is something to begin, and in all."""
    *_, (_, own, _) = searches(job)
    own = own.model_copy(
        update={
            "budget": Budget(trials=1000, seeds=1),
            "search": Search(sampler="random", scheduler="screen"),
        }
    )
    study = Study(own, in_memory(own, default_of(job)), scheduler_for)
    moments = list(simulate(study, surrogate, workers=64))
    before, in_all = idle_share(moments, 64), 1 - moments[-1].trial_hours / (64 * moments[-1].hours)
    console.print(
        f"1,000 trials on 64 GPUs: {100 * before:.1f} % idle until the last trial begins or goes on, the bound is 5 %; "
        f"{100 * in_all:.1f} % with the end, when there is nothing left to begin"
    )


def long_study(job: JobSpec, surrogate: Surrogate) -> None:
    changes = {
        "fidelity": job.fidelity.model_copy(update={"rungs": job.fidelity.evaluation_points}),
        "space": job.space.model_copy(update={"initial_points": ()}),
        "budget": Budget(trials=10_000, seeds=1),
    }
    own = job.model_copy(update=changes)
    study = Study(own, in_memory(own, default_of(job)), scheduler_for)
    begun, moments = time.perf_counter(), simulate(study, surrogate, workers=256)
    ends = [time.perf_counter() - begun for moment in moments if moment.ended]
    first, last = (ends[1999] - ends[999]) / 1000, (ends[-1] - ends[-1001]) / 1000
    console.print(
        f"10,000 trials on 256 GPUs: {ends[-1]:.0f} s; a trial {1000 * first:.1f} ms after the first 1,000, "
        f"{1000 * last:.1f} ms in the last 1,000: {last / first:.2f} times; the bound is 1.5"
    )


def main() -> None:
    pairs = [tuple(map(Path, sys.argv[1:]))] if sys.argv[1:] else RECORDED
    for job_file, file in pairs:
        job = read_job(job_file, images_are_here=False)
        surrogate = Surrogate(job, curves.read(file))
        console.print(
            f"{file.name}: noise between seeds {surrogate.noise:.2f}, error where nothing was recorded "
            f"{surrogate.error:.2f}, best known {surrogate.best_known:.2f}; who screens four and finishes one spends "
            f"{floor(job, surrogate):.2f} at least"
        )
        for gpus in GPUS:
            console.print(costs(job, surrogate, gpus))
    idle(job, surrogate)
    long_study(job, surrogate)


if __name__ == "__main__":
    main()
