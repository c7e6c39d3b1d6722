"""A study of the synthetic trainer as it ends when nothing disturbs it: a loop, without a cluster."""

from pathlib import Path

from tuner import app
from tuner.errors import Diverged, OutOfMemory
from tuner.job import JobSpec
from tuner.overrides import trial_config
from tuner.search.scheduling import rule
from tuner.search.store import open_study
from tuner.study import Study
from tuner.training import open_training
from tuner.trial import Outcome, Place, Record


def undisturbed(job: JobSpec, folder: Path) -> list[Record]:
    storage = f"sqlite:///{folder}/studies.db"
    config, fingerprint, default = app.check(job, storage)
    study = Study(job, open_study(storage, job, fingerprint, default), rule)
    place = Place(rank=0, ranks=job.resources.processes)
    while trial := study.draw():
        number = trial.number
        training = open_training(trial_config(job, config, trial), folder / str(number), place)
        try:
            while not study.measure(number, training.step(study.job.fidelity.stops)):
                pass
        except Diverged as failure:
            study.fail(number, Outcome.DIVERGED, str(failure))
        except OutOfMemory as failure:
            study.fail(number, Outcome.OUT_OF_MEMORY, str(failure))
    return study.records
