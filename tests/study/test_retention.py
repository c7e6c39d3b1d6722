"""Which checkpoints stay."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import JobFile
from tests.object_store import ObjectStore
from tests.records import STUDY, record
from tuner.files.paths import Home, TrialFolder
from tuner.files.urls import UrlPath
from tuner.files.writing import write_text
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome
from tuner.spec.yaml_files import read_job
from tuner.study.history import History
from tuner.study.retention import Retention, dispensable

DONE = Outcome.COMPLETED


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


def test_running_trials_the_default_and_the_best_two_keep_theirs(job: JobSpec) -> None:
    completed = [record(number, DONE, 1.0, 2.0, float(number)) for number in range(4, 9)]
    running = record(9, None, 5.0)
    assert dispensable(History(job, [*STUDY, *completed, running])) == {1, 2, 4, 5, 6, 7}


def test_nothing_goes_while_few_trials_have_ended(job: JobSpec) -> None:
    assert dispensable(History(job, [record(0, DONE, 1.0, 2.0, 3.0), record(1, None)])) == set()


def write_files(folder: TrialFolder) -> None:
    write_text(folder.config, "lr = 1")
    write_text(folder.checkpoint, "weights")
    write_text(folder.checkpoint_of(2), "weights of the second attempt")
    write_text(folder.strip(60, 0), "a prediction")


def test_a_trial_that_ends_gives_up_its_checkpoint_and_keeps_its_config_and_predictions(
    job: JobSpec, trials_home: Home
) -> None:
    folders = [trials_home.trial(job.name, number) for number in range(6)]
    for folder in folders:
        write_files(folder)
    retention = Retention(History(job, []), trials_home)
    retention.changed(record(0, None, 1.0))
    for number in range(6):
        retention.changed(record(number, DONE, 1.0, 2.0, float(number)))
    assert [folder.checkpoint.exists() for folder in folders] == [True, False, False, False, True, True]
    assert all(folder.config.exists() and folder.strip(60, 0).exists() for folder in folders)


def test_a_checkpoint_that_cannot_be_removed_goes_when_the_next_trial_ends(
    job: JobSpec, object_store: ObjectStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deletes(request: dict[str, Any]) -> bool:
        return bool(request["REQUEST_METHOD"] == "DELETE")

    home = Home(tmp_path, UrlPath(url))
    checkpoint = home.trial(job.name, 1).checkpoint
    write_text(checkpoint, "weights")
    retention = Retention(History(job, STUDY[:1]), home)
    with monkeypatch.context() as patched:
        patched.setattr(object_store, "refuses", deletes)
        for number in range(1, 6):
            retention.changed(record(number, DONE, 1.0, 2.0, float(number)))
    assert checkpoint.exists()
    retention.changed(record(6, DONE, 1.0, 2.0, 6.0))
    assert not checkpoint.exists()
