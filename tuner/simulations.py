"""Tries searches out without training: curves are recorded once, and searches over them are simulated."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tuner.checking import check
from tuner.errors import BadInput
from tuner.settings import Settings
from tuner.simulation import curves
from tuner.sizing.examples import shipped
from tuner.sizing.plan import Forecast
from tuner.sizing.trial_config import default_params, trial_config
from tuner.spec.job import Budget, Fidelity, JobSpec, Resources, Search
from tuner.spec.space import Params
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.spec.yaml_files import read_job
from tuner.study.history import History
from tuner.study.replication import best
from tuner.study.study import Study

if TYPE_CHECKING:
    from tuner.simulation.surrogate import Surrogate

GAINS = (0.5, 1.0)
"""The gains over the default whose chance a plan tells."""
STUDIES = 10
"""The searches that a plan simulates: a second or so each."""
DRAWINGS_PER_PARAMETER = 5
"""The drawings without which curves say too little of a space to plan by."""


def record(
    file: Path, changes: Mapping[str, Any], to: Path, configs: int, seeds: int, settings: Settings
) -> Iterator[Record]:
    """Trains random params of the job's space, the default first, each with several seeds, to the end.

    Seconds on the CPU are seconds of computing, so that other work on the machine does not count.
    """
    checked = check(read_job(file, changes), settings.storage, settings.home)
    from tuner.store.studies import in_memory
    from tuner.training import open_training, process_group

    job, config, default = checked.job, checked.config, checked.default
    alone = _in_one_process(job)
    rank_info = process_group.join(0, 1, "", alone.resources.gpus_per_rank)
    clock = time.process_time if rank_info.device == "cpu" else time.perf_counter

    def train(trial: Trial) -> Iterator[Measurement]:
        with TemporaryDirectory() as folder:
            training = open_training(trial_config(alone, config, trial), Path(folder), rank_info)
            begun = clock()
            for _ in job.fidelity.evaluation_points:
                yield replace(training.step(job.fidelity.evaluation_points), seconds=clock() - begun)

    space = job.space.model_copy(update={"initial_points": ()})
    by_chance = Search(sampler="random", scheduler="none")
    aimless = job.model_copy(update={"search": by_chance, "space": space})
    store = in_memory(aimless, default)
    drawn = [store.draw().params for _ in range(configs)]
    trials = [
        Trial(number, params, job.seed + i) for number, params in enumerate(drawn) for i in range(seeds)
    ]
    return curves.record(trials, train, to)


@dataclass(frozen=True)
class Simulation:
    history: History
    hours: float
    gpu_hours: float
    """A trial counts as one GPU where the job asks for none."""
    to_near_best: float | None
    """GPU-hours until the best trial was truly within `near` of the best known; None if it never was."""
    surrogate_error: float
    noise: float


def simulate(
    file: Path, changes: Mapping[str, Any], recorded: Path, gpus: int, near: float, settings: Settings
) -> Simulation:
    """Searches what a job asks for in virtual time, over recorded curves. Raises BadInput."""
    job = read_job(file, changes, images_are_here=False)
    if job.objective.secondary:
        raise BadInput.of(str(file), "objective.secondary: curves tell no costs to simulate by: remove it")
    from tuner.search.scheduling import scheduler_for
    from tuner.simulation.simulator import cost_of_near_best, simulate
    from tuner.simulation.surrogate import Surrogate
    from tuner.store.studies import in_memory, warm_start
    from tuner.training.config import config as configs

    surrogate = Surrogate(job, curves.read(recorded))
    default = default_params(job, configs.read(job.config, imports=False))
    study = Study(job, in_memory(job, default, warm_start(settings.storage, job)), scheduler_for)
    a_trial = job.resources.gpus_per_trial or 1
    if gpus < a_trial:
        raise BadInput.of("--gpus", f"a trial of job {job.name} holds {a_trial:g}, got {gpus}")
    moments = list(simulate(study, surrogate, int(gpus / a_trial)))
    reached = cost_of_near_best(study, surrogate, moments, near)
    return Simulation(
        history=study.history,
        hours=moments[-1].hours,
        gpu_hours=moments[-1].trial_hours * a_trial,
        to_near_best=None if reached is None else reached * a_trial,
        surrogate_error=surrogate.error,
        noise=surrogate.noise,
    )


def forecast(job: JobSpec, folder: Path | None = None) -> Forecast | None:
    """Simulates searches of a job over the recorded curves of the same parameters; None where there are none.

    Rungs become the nearest recorded ones, as shares of the full length. Of several files that with the most
    measurements is taken, of those that have as many the first by name.
    """
    from tuner.simulation.surrogate import Surrogate
    from tuner.training.config import config as configs

    folder = folder or shipped() / "configs" / "curves"
    fitting = {file: found for file in sorted(folder.glob("*.jsonl")) if (found := _fitting(job, file))}
    if not fitting or job.objective.secondary:
        return None
    file, records = max(fitting.items(), key=lambda each: sum(len(r.measurements) for r in each[1]))
    recorded = tuple(m.iteration for m in records[0].measurements)
    length = Fidelity(iterations=recorded[-1], rungs=recorded)
    surrogate = Surrogate(job.model_copy(update={"fidelity": length}), records)
    rungs = "auto" if job.fidelity.rungs == "auto" else tuple(_nearest(job.fidelity, recorded))
    asked = job.model_copy(
        update={
            "fidelity": length.model_copy(update={"rungs": rungs, "prune_by": job.fidelity.prune_by}),
            "budget": Budget(trials=job.budget.trials, seeds=1),
        }
    )
    default = default_params(job, configs.read(job.config, imports=False))
    ends = [searched(asked, default, surrogate, seed) for seed in range(STUDIES)]
    return Forecast(
        curves=file,
        recorded=len(records),
        studies=STUDIES,
        trainings=median(cost for cost, _ in ends),
        found={gain: sum(gained >= gain for _, gained in ends) for gain in GAINS},
        short=abs(surrogate.best_known - surrogate.truth(default)),
    )


def searched(job: JobSpec, default: Params, surrogate: "Surrogate", seed: int) -> tuple[float, float]:
    """Returns the cost of a search in trainings of full length, and by how much its best truly beats the default."""
    from tuner.search.scheduling import scheduler_for
    from tuner.simulation.simulator import simulate
    from tuner.store.studies import in_memory

    job = job.model_copy(update={"seed": seed})
    study = Study(job, in_memory(job, default), scheduler_for)
    *_, last = simulate(study, surrogate, workers=1)
    full = surrogate.training(Trial(0, default, seed), (job.fidelity.iterations,))[-1].seconds
    history = study.history
    winner = best(history)
    gain = surrogate.truth(winner.trial.params) - surrogate.truth(default) if winner else 0.0
    return last.trial_hours * 3600 / full, history.sign * gain


def _fitting(job: JobSpec, file: Path) -> Sequence[Record]:
    """Returns the completed trainings of a file that varied the job's parameters within its choices."""
    records = [r for r in curves.read(file) if r.outcome is Outcome.COMPLETED]
    space = job.space
    fits = all(
        r.trial.params.keys() == space.parameters.keys()
        and all(space.parameters[name].contains(value) for name, value in r.trial.params.items())
        for r in records
    )
    has_metric = all(r.value(job.objective.metric) is not None for r in records)
    drawings = {tuple(r.trial.params.values()) for r in records}
    least = DRAWINGS_PER_PARAMETER * len(space.parameters)
    return records if fits and has_metric and len(drawings) >= least else ()


def _nearest(fidelity: Fidelity, recorded: Sequence[int]) -> Iterator[int]:
    """Yields the recorded rungs nearest to the job's, by the logarithm of their share of the full length."""
    shares = [point / fidelity.iterations for point in fidelity.evaluation_points]
    near = {min(recorded, key=lambda stop: abs(log(stop / recorded[-1] / share))) for share in shares}
    yield from sorted(near)


def _in_one_process(job: JobSpec) -> JobSpec:
    asked = job.resources
    alone = Resources(gpus_per_trial=min(1, asked.gpus_per_trial), global_batch=asked.global_batch)
    return job.model_copy(update={"resources": alone})
