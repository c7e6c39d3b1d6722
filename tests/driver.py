"""A driver without a cluster, to be killed: study, store and the synthetic trainer, one trial at a time.

python -m tests.driver JOB HOME URL
"""

import sys
from pathlib import Path
from runpy import run_path

from tuner.errors import Crashed, Diverged, OutOfMemory, TrialFailed
from tuner.files import read_job
from tuner.overrides import default_params, trial_config
from tuner.paths import Home
from tuner.search.scheduling import rule
from tuner.search.store import open_study
from tuner.study import Study
from tuner.training.synthetic import SyntheticTraining
from tuner.trial import Config, Outcome, Place, Trial
from tuner.urls import UrlPath

OUTCOMES = {OutOfMemory: Outcome.OUT_OF_MEMORY, Diverged: Outcome.DIVERGED, Crashed: Outcome.CRASHED}
FAILURES = {"diverges_above": 5e-3, "out_of_memory_above": 150, "crashes": 0.1}


def drive(file: Path, home: Home) -> None:
    job = read_job(file)
    config = {key: value for key, value in run_path(str(job.config)).items() if not key.startswith("_")}
    config["runner"] |= FAILURES
    store = open_study(home.storage, job, {"data": "abc"}, default_params(job, config))
    with store.driven():
        study = Study(job, store, rule)
        while trial := study.draw():
            train(study, trial, config, home)


def train(study: Study, trial: Trial, config: Config, home: Home) -> None:
    folder = home.trial(study.job.name, trial.number).root
    session = SyntheticTraining(trial_config(study.job, config, trial), folder, Place())
    try:
        while study.measure(trial.number, session.step(study.job.fidelity.stops)) is None:
            pass
    except TrialFailed as failure:
        study.fail(trial.number, OUTCOMES[type(failure)], str(failure))


if __name__ == "__main__":
    drive(Path(sys.argv[1]), Home(Path(sys.argv[2]), UrlPath(sys.argv[3])))
