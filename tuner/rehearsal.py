"""Trying searches out without training: curves that are recorded once, and simulated searches over them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tuner import curves
from tuner.app import check
from tuner.errors import BadInput
from tuner.files import read_job
from tuner.job import JobSpec, Resources, Search
from tuner.overrides import default_params, trial_config
from tuner.settings import Settings
from tuner.study import Study
from tuner.trial import Measurement, Record, Trial


def record(
    file: Path, data_root: Path | None, to: Path, configs: int, seeds: int, settings: Settings
) -> Iterator[Record]:
    """Trains random params of the job's space, the default first, each with several seeds, to the end.

    Seconds on the CPU are seconds of computing, so that other work on the machine does not count.
    """
    from tuner.search.store import in_memory
    from tuner.training import open_training, process_group

    job = read_job(file, data_root)
    config, _, default = check(job, settings.storage)
    alone = _in_one_process(job)
    place = process_group.join(0, 1, "", alone.resources.gpus_per_rank)
    clock = time.process_time if place.device == "cpu" else time.perf_counter

    def train(trial: Trial) -> Iterator[Measurement]:
        with TemporaryDirectory() as folder:
            training = open_training(trial_config(alone, config, trial), Path(folder), place)
            begun = clock()
            for _ in job.fidelity.stops:
                yield replace(training.step(job.fidelity.stops), seconds=clock() - begun)

    aimless = job.model_copy(update={"search": Search(sampler="random", scheduler="none")})
    store = in_memory(aimless, default)
    drawn = [store.draw().params for _ in range(configs)]
    trials = [
        Trial(number, params, job.seed + i) for number, params in enumerate(drawn) for i in range(seeds)
    ]
    return curves.record(trials, train, to)


@dataclass(frozen=True)
class Simulation:
    job: JobSpec
    records: list[Record]
    hours: float
    gpu_hours: float
    """One GPU a trial where the job asks for none."""
    to_near_best: float | None
    """GPU-hours until the best trial was truly within `near` of the best known; None if it never was."""
    surrogate_error: float
    noise: float


def simulate(file: Path, recorded: Path, gpus: int, near: float, settings: Settings) -> Simulation:
    """Searches what a job asks for in virtual time, over recorded curves. Raises BadInput."""
    from tuner.search.scheduling import rule
    from tuner.search.simulation import cost_of_near_best, simulate
    from tuner.search.store import evidence, in_memory
    from tuner.search.surrogate import Surrogate
    from tuner.training import config as configs

    job = read_job(file, pictures_are_here=False)
    if job.objective.against:
        raise BadInput.of(str(file), "objective.against: curves tell no costs to simulate by: remove it")
    surrogate = Surrogate(job, curves.read(recorded))
    default = default_params(job, configs.read(job.config))
    study = Study(job, in_memory(job, default, evidence(settings.storage, job)), rule)
    a_trial = job.resources.gpus_per_trial or 1
    if gpus < a_trial:
        raise BadInput.of("--gpus", f"a trial of job {job.name} holds {a_trial:g}, got {gpus}")
    moments = list(simulate(study, surrogate, int(gpus / a_trial)))
    reached = cost_of_near_best(study, surrogate, moments, near)
    return Simulation(
        job=job,
        records=study.records,
        hours=moments[-1].hours,
        gpu_hours=moments[-1].trial_hours * a_trial,
        to_near_best=None if reached is None else reached * a_trial,
        surrogate_error=surrogate.error,
        noise=surrogate.noise,
    )


def _in_one_process(job: JobSpec) -> JobSpec:
    asked = job.resources
    alone = Resources(gpus_per_trial=min(1, asked.gpus_per_trial), global_batch=asked.global_batch)
    return job.model_copy(update={"resources": alone})
