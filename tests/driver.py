"""A driver without a cluster, to be killed: study, store and the synthetic trainer, one trial at a time."""

from dataclasses import dataclass
from pathlib import Path
from runpy import run_path

from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.simulation import local_driver
from tuner.sizing.trial_config import default_params, trial_config
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config, RankInfo, Trial
from tuner.spec.yaml_files import read_job
from tuner.store import lease
from tuner.store.lease import BEAT, SECONDS
from tuner.store.studies import open_study
from tuner.study.study import Study
from tuner.training.synthetic import SyntheticTraining


@dataclass(frozen=True)
class Times:
    """In seconds."""

    iteration: float = 0
    lease: float = SECONDS
    beat: float = BEAT
    """After which the lease is renewed."""


USUAL = Times()
FAILURES = {"diverges_above": 5e-3, "out_of_memory_above": 150, "crashes": 0.1}


def drive(file: Path, home: Home, times: Times = USUAL) -> None:
    lease.SECONDS, lease.BEAT = times.lease, times.beat
    job = read_job(file)
    config = {key: value for key, value in run_path(str(job.config)).items() if not key.startswith("_")}
    config["runner"] |= FAILURES | {"seconds_per_iteration": times.iteration}
    store = open_study(home.storage, job, {"data": "abc"}, default_params(job, config))
    with store.driven():
        local_driver.drive(Study(job, store, scheduler_for), lambda trial: opened(job, config, trial, home))


def opened(job: JobSpec, config: Config, trial: Trial, home: Home) -> SyntheticTraining:
    folder = home.trial(job.name, trial.number).root
    return SyntheticTraining(trial_config(job, config, trial), folder, RankInfo())
