"""Which studies are started again, and which are left alone."""

from pathlib import Path

import pytest

from tests.conftest import JobFile
from tuner.errors import TunerError
from tuner.search.scheduling import scheduler_for
from tuner.spec.trial import Outcome
from tuner.spec.yaml_files import read_job
from tuner.store.resuming import PATIENCE, CutOff, LeftAlone, found
from tuner.store.store import OptunaStore
from tuner.store.studies import open_study, studies
from tuner.study.study import Study

DEFAULT = {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}


def begun(storage: str, job_file: JobFile, name: str, trials: int = 2) -> OptunaStore:
    job = read_job(job_file(name=name, budget={"trials": trials}))
    return open_study(storage, job, {"data": "abc"}, DEFAULT, config="model = 1\n")


def given_back(store: OptunaStore) -> None:
    assert store.lease
    store.lease.give_back()


def test_studies_that_were_cut_off_are_found_with_their_configs(storage: str, job_file: JobFile) -> None:
    given_back(begun(storage, job_file, "cut"))
    study = found(storage, "cut", is_named=False)
    assert isinstance(study, CutOff)
    assert (study.job.name, study.config) == ("cut", "model = 1\n")


def test_a_study_that_is_over_is_left_alone(storage: str, job_file: JobFile) -> None:
    store = begun(storage, job_file, "over", trials=1)
    study = Study(store.job, store, scheduler_for)
    assert study.draw()
    study.fail(0, Outcome.DIVERGED, "")
    given_back(store)
    assert found(storage, "over", is_named=False) == LeftAlone("it is over")


def test_a_study_that_another_process_drives_is_left_alone(
    storage: str, job_file: JobFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(storage, job_file, "driven")
    monkeypatch.setattr("os.getpid", lambda: 1)  # as the lease's holder is seen from another process
    study = found(storage, "driven", is_named=False)
    assert isinstance(study, LeftAlone)
    assert study.why.endswith("drives it")


def test_a_study_without_progress_is_started_by_its_name_alone(storage: str, job_file: JobFile) -> None:
    for _ in range(PATIENCE):
        assert "stuck" not in studies(storage) or isinstance(found(storage, "stuck", is_named=False), CutOff)
        given_back(begun(storage, job_file, "stuck"))
    study = found(storage, "stuck", is_named=False)
    assert isinstance(study, LeftAlone)
    assert "3 times without progress" in study.why
    assert isinstance(found(storage, "stuck", is_named=True), CutOff)


def test_progress_lets_a_study_be_started_again(storage: str, job_file: JobFile) -> None:
    for _ in range(PATIENCE):
        given_back(begun(storage, job_file, "moving"))
    store = begun(storage, job_file, "moving")
    trial = store.draw()
    store.ended(trial.number, Outcome.CRASHED, "")
    given_back(store)
    assert isinstance(found(storage, "moving", is_named=False), CutOff)


def test_an_unknown_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(TunerError, match="there is no study nowhere"):
        found(f"sqlite:///{tmp_path}/studies.db", "nowhere", is_named=True)
