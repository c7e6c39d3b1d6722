"""A driver without a cluster, to be killed: study, store and the synthetic trainer, one trial at a time.

python -m tests.driver JOB HOME URL [PACE LEASE BEAT]

PACE is the seconds of an iteration, LEASE and BEAT those that its lease lasts and after which it is renewed.
"""

import sys
from pathlib import Path
from runpy import run_path

from tuner.files.paths import Home
from tuner.files.urls import UrlPath
from tuner.search.scheduling import scheduler_for
from tuner.simulation import local_driver
from tuner.sizing.trial_config import default_params, trial_config
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config, RankInfo, Trial
from tuner.spec.yaml_files import read_job
from tuner.store import lease
from tuner.store.studies import open_study
from tuner.study.study import Study
from tuner.training.synthetic import SyntheticTraining

FAILURES = {"diverges_above": 5e-3, "out_of_memory_above": 150, "crashes": 0.1}


def drive(file: Path, home: Home, pace: float = 0.0) -> None:
    job = read_job(file)
    config = {key: value for key, value in run_path(str(job.config)).items() if not key.startswith("_")}
    config["runner"] |= FAILURES | {"seconds_per_iteration": pace}
    store = open_study(home.storage, job, {"data": "abc"}, default_params(job, config))
    with store.driven():
        local_driver.drive(Study(job, store, scheduler_for), lambda trial: opened(job, config, trial, home))


def opened(job: JobSpec, config: Config, trial: Trial, home: Home) -> SyntheticTraining:
    folder = home.trial(job.name, trial.number).root
    return SyntheticTraining(trial_config(job, config, trial), folder, RankInfo())


if __name__ == "__main__":
    job, root, url, *seconds = sys.argv[1:]
    pace, lease.SECONDS, lease.BEAT = map(float, seconds or (0, lease.SECONDS, lease.BEAT))
    drive(Path(job), Home(Path(root), UrlPath(url)), pace)
