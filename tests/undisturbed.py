"""A study of the synthetic trainer as it ends when nothing disturbs it: a loop, without a cluster or waiting."""

from pathlib import Path
from unittest.mock import patch

from tuner import checking
from tuner.search.scheduling import scheduler_for
from tuner.simulation import local_driver
from tuner.sizing.trial_config import trial_config
from tuner.spec.job import JobSpec
from tuner.spec.trial import RankInfo, Record, Trial
from tuner.store.studies import open_study
from tuner.study.study import Study
from tuner.training import Session, open_training


def undisturbed(job: JobSpec, folder: Path) -> list[Record]:
    storage = f"sqlite:///{folder}/studies.db"
    checked = checking.check(job, storage)
    study = Study(job, open_study(storage, job, checked.fingerprint, checked.default), scheduler_for)
    rank_info = RankInfo(rank=0, ranks=job.resources.processes)

    def opened(trial: Trial) -> Session:
        config = trial_config(job, checked.config, trial)
        return open_training(config, folder / str(trial.number), rank_info)

    with patch("tuner.training.synthetic.time"):
        local_driver.drive(study, opened)
    return study.records
