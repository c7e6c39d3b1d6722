"""What searches cost, in virtual time, and what a draw costs after many.

python tests/benchmarks/bench_simulation.py [JOB CURVES]: over recorded curves, else over curves by formula.
"""

import sys
import time
from collections.abc import Callable
from math import exp, log10
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tuner import curves
from tuner.files import read_job, read_space
from tuner.job import Budget, Fidelity, JobSpec, Resources, Search
from tuner.search.scheduling import rule
from tuner.search.simulation import cost_of_near_best, simulate
from tuner.search.store import OptunaStore, in_memory, open_study
from tuner.search.surrogate import Surrogate
from tuner.study import Study
from tuner.trial import Measurement, Outcome, Record, Trial

ROOT = Path(__file__).parents[2]
DEFAULT = {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}
SEARCHES = {
    "random": Search(sampler="random", scheduler="none"),
    "TPE": Search(sampler="tpe", scheduler="none"),
    "TPE + ASHA": Search(sampler="tpe", scheduler="asha"),
    "prior": Search(sampler="prior", scheduler="none"),
    "prior + ASHA": Search(sampler="prior", scheduler="asha"),
    "prior + Hyperband": Search(sampler="prior", scheduler="hyperband"),
    "prior + median": Search(sampler="prior", scheduler="median"),
}
STUDIES, GPUS, TRIALS, NEAR = 30, 4, 60, 0.5
console = Console()


def formula_job(trials: int) -> JobSpec:
    return JobSpec(
        name="formula",
        config=ROOT / "configs" / "synthetic.py",
        data_root=ROOT,
        space=read_space(ROOT / "search_spaces" / "pvt.yaml"),
        budget=Budget(trials=trials, seeds=1),
        fidelity=Fidelity(iterations=480, rungs=(60, 120, 240, 480)),
        resources=Resources(gpus_per_trial=1, global_batch=8),
    )


def formula_curves(job: JobSpec) -> list[Record]:
    """96 trainings: mIoU falls off around a learning rate and a weight decay, with noise between seeds."""
    records = []
    for number in range(96):
        drawn, chance = Random(number // 2), Random(number)
        lr, decay = 10 ** drawn.uniform(-4.5, -2), 10 ** drawn.uniform(-6, -1)
        params = {"lr": lr, "weight_decay": decay, "centers": drawn.choice([4, 25, 49])}
        height = 40 * exp(-((log10(lr) + 2.7) ** 2) - 0.02 * (log10(decay) + 3) ** 2)
        measurements = tuple(
            Measurement(stop, {"mIoU": height * stop / 480 + chance.gauss(0, 0.4)}, 10.0 * stop)
            for stop in job.fidelity.stops
        )
        records.append(Record(Trial(number, params, number % 2), Outcome.COMPLETED, measurements))
    return records


def costs(job: JobSpec, surrogate: Surrogate) -> Table:
    head = f"GPU-hours to within {NEAR} of the best known"
    table = Table("search", f"{head}, median of {STUDIES}", "never", box=None)
    for name, search in SEARCHES.items():
        found = []
        for seed in range(STUDIES):
            own = job.model_copy(
                update={"search": search, "seed": seed, "budget": Budget(trials=TRIALS, seeds=1)}
            )
            study = Study(own, in_memory(own, DEFAULT), rule)
            found.append(cost_of_near_best(study, surrogate, list(simulate(study, surrogate, GPUS)), NEAR))
        reached = [cost if cost is not None else float("inf") for cost in found]
        table.add_row(name, f"{median(reached):.3f}", str(found.count(None)))
    return table


def long_study(surrogate: Callable[[JobSpec], Surrogate]) -> None:
    job = formula_job(10_000)
    study = Study(job, in_memory(job, DEFAULT), rule)
    begun, moments = time.perf_counter(), simulate(study, surrogate(job), workers=256)
    ends = [time.perf_counter() - begun for moment in moments if moment.ended]
    first, last = (ends[1999] - ends[999]) / 1000, (ends[-1] - ends[-1001]) / 1000
    console.print(
        f"10,000 trials on 256 GPUs: {ends[-1]:.0f} s; a trial {1000 * first:.1f} ms after the first 1,000, "
        f"{1000 * last:.1f} ms in the last 1,000: {last / first:.2f} times"
    )


def latency(past: int) -> float:
    """Seconds of a draw from a database that holds so many trials."""
    job = formula_job(past + 100)
    with TemporaryDirectory() as folder:
        store = open_study(f"sqlite:///{folder}/studies.db", job, {"data": None}, DEFAULT)
        _fill(store, past)
        store = open_study(f"sqlite:///{folder}/studies.db", job, {"data": None}, DEFAULT)
        took = []
        for _ in range(10):
            begun = time.perf_counter()
            store.draw()
            took.append(time.perf_counter() - begun)
        return median(took)


def _fill(store: OptunaStore, trials: int) -> None:
    """Completed trials by random draws, written as a whole."""
    aimless = store.job.model_copy(update={"search": Search(sampler="random", scheduler="none")})
    drawn = in_memory(aimless, DEFAULT)
    for number in range(trials):
        trial = drawn.draw()
        drawn.measured(
            number, Measurement(480, {"mIoU": 40 - abs(log10(float(trial.params["lr"])) + 2.7)}, 1.0)
        )
        drawn.ended(number, Outcome.COMPLETED, "")
    store._study.add_trials(drawn._study.get_trials(deepcopy=False))


def main() -> None:
    job = read_job(Path(sys.argv[1]), pictures_are_here=False) if sys.argv[1:] else formula_job(TRIALS)
    surrogate = Surrogate(job, curves.read(Path(sys.argv[2])) if sys.argv[2:] else formula_curves(job))
    console.print(
        f"curves of {job.name}: noise between seeds {surrogate.noise:.2f}, error where nothing was recorded "
        f"{surrogate.error:.2f}, best known {surrogate.best_known():.2f}"
    )
    for past in (100, 1_000, 5_000):
        console.print(f"a draw after {past} trials: {latency(past):.3f} s")
    long_study(lambda own: Surrogate(own, formula_curves(own)))
    console.print(costs(job, surrogate))


if __name__ == "__main__":
    main()
