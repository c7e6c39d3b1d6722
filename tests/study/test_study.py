"""The story of a study, told by a loop in place of a cluster, in a store of its own or Optuna's."""

from pathlib import Path

import pytest

from tests.conftest import JobFile
from tests.learning_curves import curve
from tests.loop import DEFAULT, facts, measured, steps
from tuner.errors import BadInput, TunerError
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.store.studies import load_study, open_study
from tuner.study.history import History
from tuner.study.replication import best
from tuner.study.study import Study


def measurement(record: Record, iteration: int) -> Measurement:
    return measured(record.trial, iteration, curve)


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def fingerprint(job: JobSpec) -> dict[str, object]:
    return {"space": job.space.model_dump(mode="json"), "data": "abc"}


def opened(storage: str, job: JobSpec) -> Study:
    return Study(job, open_study(storage, job, fingerprint(job), DEFAULT), scheduler_for)


def test_a_study_ends_with_each_trial_once(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    list(steps(study, curve))
    assert [record.trial.number for record in study.records] == list(range(12))
    assert {record.outcome for record in study.records} == {Outcome.COMPLETED, Outcome.PRUNED}
    assert study.draw() is None
    assert study.is_over


def test_a_study_is_not_over_while_a_trial_runs(storage: str, job: JobSpec) -> None:
    study = opened(storage, job.model_copy(update={"budget": job.budget.model_copy(update={"trials": 1})}))
    study.draw()
    assert study.left == 0
    assert not study.is_over


def test_the_default_is_trial_0_and_is_never_pruned(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    list(steps(study, curve))
    assert study.records[0].trial.params == DEFAULT
    assert study.records[0].outcome is Outcome.COMPLETED


def test_the_store_holds_what_the_study_knows(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    list(steps(study, curve))
    kept = load_study(storage, job.name)
    assert facts(kept.records()) == facts(study.records)
    assert kept.job == job


def test_a_measurement_told_twice_counts_once(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    trial = study.draw()
    assert trial
    record = study.records[0]
    assert study.measure(0, measurement(record, 60)) is None
    assert study.measure(0, measurement(record, 60)) is None
    assert len(study.records[0].measurements) == 1


def test_a_trial_whose_objective_is_no_number_has_diverged(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    study.draw()
    assert study.measure(0, Measurement(480, {"mIoU": float("nan")}, 1.0)) is Outcome.DIVERGED
    (record,) = load_study(storage, job.name).records()
    assert (record.outcome, record.note) == (Outcome.DIVERGED, "mIoU nan at iteration 480")
    assert record.measurements == ()


def test_a_failed_trial_keeps_its_reason(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    study.draw()
    study.fail(0, Outcome.DIVERGED, "loss nan at iteration 7")
    (record,) = load_study(storage, job.name).records()
    assert (record.outcome, record.note) == (Outcome.DIVERGED, "loss nan at iteration 7")


def measure_another(study: Study) -> None:
    """Shows that trials can work: before that, a study holds crashes back."""
    trial = study.draw()
    assert trial
    study.measure(
        trial.number, Measurement(study.job.fidelity.evaluation_points[0], {"mIoU": 1.0}, seconds=1.0)
    )


def test_a_trial_whose_rank_dies_is_drawn_again_until_its_retries_are_spent(
    storage: str, job: JobSpec
) -> None:
    study = opened(storage, job)
    first = study.draw()
    measure_another(study)
    for _ in range(job.budget.retries):
        study.retry(0, "a rank died", died=True)
        assert load_study(storage, job.name).records()[0].outcome is None
        assert study.draw() == first
    study.retry(0, "a rank died", died=True)
    record = load_study(storage, job.name).records()[0]
    assert (record.outcome, record.note) == (Outcome.CRASHED, "a rank died")


def test_an_error_raised_twice_in_a_row_is_not_tried_a_third_time(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    study.draw()
    measure_another(study)
    for note, outcome in (("no room", None), ("no file", None), ("no file", Outcome.CRASHED)):
        study.retry(0, note, died=False)
        assert study.records[0].outcome is outcome


def test_the_best_is_a_completed_trial(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    list(steps(study, curve))
    first = best(History(job, study.records))
    assert first
    completed = [r for r in study.records if r.outcome is Outcome.COMPLETED]
    assert first.value("mIoU") == max(r.value("mIoU") or 0 for r in completed)


def test_another_space_under_the_same_name_is_refused_with_the_difference(storage: str, job: JobSpec) -> None:
    opened(storage, job)
    changed = fingerprint(job)
    changed["space"] = {"parameters": {"lr": {"high": 0.5}}}
    with pytest.raises(BadInput) as caught:
        open_study(storage, job, changed, DEFAULT)
    assert "study syn exists and belongs to another job" in str(caught.value)
    assert "space.parameters.lr.high: 0.01 in the study, 0.5 in the job" in str(caught.value)


def test_two_studies_in_one_database_do_not_mix(storage: str, job: JobSpec) -> None:
    other = job.model_copy(update={"name": "other"})
    list(steps(opened(storage, job), curve))
    study = opened(storage, other)
    assert study.records == []
    list(steps(study, curve))
    assert len(load_study(storage, "syn").records()) == len(load_study(storage, "other").records()) == 12


def test_a_study_that_is_not_there_is_told_with_those_that_are(storage: str, job: JobSpec) -> None:
    opened(storage, job)
    with pytest.raises(TunerError, match="there is no study nope; there are: syn"):
        load_study(storage, "nope")
