"""A driver without a cluster, to be killed, that shows its study in MLflow; at some trials it waits to be let on."""

import time
from functools import partial
from pathlib import Path
from runpy import run_path

from tests.driver import FAILURES, opened
from tests.strips import draw_strips
from tuner.files.paths import Home
from tuner.files.writing import write_text
from tuner.search.scheduling import scheduler_for
from tuner.simulation import local_driver
from tuner.sizing.trial_config import default_params
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config, Measurement, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.study.history import History
from tuner.study.study import Study
from tuner.tracking.mlflow import MlflowTracker, Server
from tuner.tracking.report.sources import Sources

WAITS_AT = (2, 5, 7)
"""Trials."""


def leave(home: Home, trial: int) -> Path:
    """The file whose presence lets the driver go on."""
    return home.root / f"{trial} may begin"


class Pictured:
    """A synthetic training that leaves what a real one does: strips and a log."""

    def __init__(self, job: JobSpec, config: Config, home: Home, trial: Trial) -> None:
        self._folder, self._number = home.trial(job.name, trial.number), trial.number
        while trial.number in WAITS_AT and not leave(home, trial.number).exists():
            time.sleep(0.05)
        self._training = opened(job, config, trial, home)

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement:
        measurement = self._training.step(evaluation_points)
        draw_strips(self._folder, measurement.iteration, self._number)
        write_text(self._folder.log, f'{{"mode": "train", "iter": {measurement.iteration}}}\n')
        return measurement


def drive(file: Path, home: Home, uri: str) -> None:
    job = read_job(file)
    config = {key: value for key, value in run_path(str(job.config)).items() if not key.startswith("_")}
    config["runner"] |= FAILURES
    store = open_study(home.storage, job, {"data": "abc"}, default_params(job, config))
    folder = partial(home.trial, job.name)

    def read() -> Sources:
        return Sources(History(job, store.records()), folder, store.origin)

    tracker = MlflowTracker(Server(uri, home.artifacts), store.id, read)
    with store.driven():
        tracker.begin()
        try:
            study = Study(job, store, scheduler_for, [tracker])
            local_driver.drive(study, partial(Pictured, job, config, home))
        finally:
            tracker.end()
