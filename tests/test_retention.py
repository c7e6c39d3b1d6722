"""Which checkpoints stay."""

from pathlib import Path

import pytest

from tests.conftest import JobFile
from tests.records import STUDY, record
from tuner.files import read_job
from tuner.job import JobSpec
from tuner.paths import Home
from tuner.retention import Retention, dispensable
from tuner.trial import Outcome

DONE = Outcome.COMPLETED


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


def test_running_trials_the_default_and_the_best_four_keep_theirs(job: JobSpec) -> None:
    completed = [record(number, DONE, 1.0, 2.0, float(number)) for number in range(4, 9)]
    running = record(9, None, 5.0)
    assert dispensable(job, [*STUDY, *completed, running]) == {1, 2, 4, 5}


def test_nothing_goes_while_few_trials_have_ended(job: JobSpec) -> None:
    assert dispensable(job, [record(0, DONE, 1.0, 2.0, 3.0), record(1, None)]) == set()


def test_a_trial_that_ends_gives_up_its_checkpoint_and_keeps_its_config(job: JobSpec, tmp_path: Path) -> None:
    home = Home(tmp_path)
    folders = [home.trial(job.name, number) for number in range(6)]
    for folder in folders:
        folder.root.mkdir(parents=True)
        folder.checkpoint.touch()
        folder.config.touch()
    retention = Retention(job, home, records=[])
    retention.changed(record(0, None, 1.0))
    for number in range(6):
        retention.changed(record(number, DONE, 1.0, 2.0, float(number)))
    assert [folder.checkpoint.exists() for folder in folders] == [True, False, True, True, True, True]
    assert all(folder.config.exists() for folder in folders)
