"""Small studies that really train, one iteration after the other, in this process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import JOB, ROOT
from tuner import checking
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.simulation import local_driver
from tuner.sizing.trial_config import trial_config
from tuner.spec.trial import RankInfo, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.store import OptunaStore
from tuner.store.studies import open_study
from tuner.study.study import Study
from tuner.training import Session, open_training

TOY = {
    "name": "toys",
    "config": str(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"),
    "budget": {"trials": 2, "seeds": 1},
    "fidelity": {"iterations": 2},
    "resources": {"gpus_per_trial": 0, "ranks": 1, "global_batch": 2, "concurrent": 1},
}


def searched(folder: Path, home: Home, data_root: Path, **changes: Any) -> OptunaStore:
    """Runs a study of the toy job, with some keys replaced; its files lie in `home`."""
    file = folder / f"{changes.get('name', 'job')}.yaml"
    file.write_text(yaml.safe_dump(JOB | TOY | {"data_root": str(data_root)} | changes))
    job = read_job(file)
    checked = checking.check(job, home.storage)
    store = open_study(home.storage, job, checked.fingerprint, checked.default, modules=checked.modules)
    study = Study(job, store, scheduler_for)

    def opened(trial: Trial) -> Session:
        config: Mapping[str, Any] = trial_config(job, checked.config, trial)
        return open_training(dict(config), home.trial(job.name, trial.number).root, RankInfo())

    local_driver.drive(study, opened)
    return store
