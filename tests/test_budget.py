"""When a search has spent its budget, or has nothing left to gain."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest

from tests.conftest import JobFile
from tests.loop import DEFAULT, cut_off_again_and_again, facts, measured, searched, steps
from tuner.budget import ending, time_spent
from tuner.files import read_job
from tuner.job import Budget, JobSpec, Resources
from tuner.search.scheduling import rule
from tuner.search.store import in_memory, open_study
from tuner.study import Study
from tuner.trial import Measurement, Outcome, Record, Trial

PATIENCE = 6


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


@pytest.fixture
def patient(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 30, "seeds": 3, "patience": PATIENCE}))


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def opened(storage: str, job: JobSpec) -> Study:
    return Study(job, open_study(storage, job, {"data": "abc"}, DEFAULT), rule)


def curve(trial: Trial, iteration: int) -> float:
    return float(trial.params["lr"]) * 1000 + iteration / 100


def flat(trial: Trial, iteration: int) -> float:
    """All trials are equal but for noise by the seed."""
    return 30 + Random(trial.seed).gauss(0, 1) + 0.1 * Random(str(trial.params)).random()


def rising(trial: Trial, iteration: int) -> float:
    """Each is better than the one before, by much more than the noise."""
    return 10.0 * trial.number if trial.repeats is None else Random(trial.seed).gauss(0, 1)


def search(study: Study) -> list[Record]:
    return [record for record in study.records if record.trial.repeats is None]


def test_no_trial_is_drawn_after_the_hours(storage: str, job: JobSpec) -> None:
    late = job.model_copy(update={"budget": job.budget.model_copy(update={"hours": 1e-12})})
    assert opened(storage, late).draw() is None


def test_the_search_ends_with_its_gpu_hours_and_the_race_follows(storage: str, job: JobSpec) -> None:
    budget = Budget(trials=12, seeds=2, gpu_hours=100 / 3600)
    limited = job.model_copy(
        update={"budget": budget, "resources": Resources(gpus_per_trial=1, global_batch=8)}
    )
    study = opened(storage, limited)
    list(steps(study, curve))
    search = [r.last.seconds for r in study.records if r.trial.repeats is None and r.last]
    assert sum(search[:-1]) < 100 <= sum(search)
    assert len(study.records) > len(search)
    assert study.is_over


def test_the_hours_before_a_restart_count(storage: str, job: JobSpec) -> None:
    list(steps(opened(storage, job), curve))
    more = {"trials": 13, "hours": 24 / 3600}
    late = job.model_copy(update={"budget": job.budget.model_copy(update=more)})
    assert opened(storage, late).draw() is None


def test_the_time_spent_is_that_of_any_trial_without_pauses() -> None:
    def trained(at: float, seconds: float) -> Record:
        started = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=at)
        return Record(Trial(0, {}, 0), None, (Measurement(60, {}, seconds),), started)

    assert time_spent([]) == 0
    overlapping = [trained(0, 10), trained(5, 10), trained(6, 2)]
    assert time_spent([*overlapping, trained(1000, 5)]) == 20


def test_a_search_ends_when_the_latest_trials_gained_less_than_the_noise(patient: JobSpec) -> None:
    study = searched(patient, flat)
    assert len(search(study)) == PATIENCE + 1
    repeats = [record.trial for record in study.records if record.trial.repeats == 0]
    assert sorted(trial.seed for trial in repeats) == [1, 2, 3]
    assert study.is_over
    assert {record.trial.repeats for record in study.records} > {None, 0}, "the race is missing"
    reason = ending(patient, study.records)
    assert reason
    assert reason.startswith(f"the latest {PATIENCE} gained 0.0")
    assert "less than the noise between seeds, " in reason


def test_a_search_that_gains_more_than_the_noise_goes_on(patient: JobSpec) -> None:
    study = searched(patient, rising)
    assert len(search(study)) == 30
    assert ending(patient, study.records) == "all are drawn"


def test_a_gain_of_a_trial_that_still_ran_lets_the_search_go_on(patient: JobSpec) -> None:
    study = Study(patient, in_memory(patient, DEFAULT), rule)
    slow: Trial | None = None
    while trial := study.draw():
        if trial.number > 0 and slow is None:
            slow = trial
        else:
            study.measure(trial.number, measured(trial, 480, flat))
    assert slow
    assert study.left == 0
    assert ending(patient, study.records) is None
    study.measure(slow.number, Measurement(480, {"mIoU": 99.0}, 1.0))
    assert study.left > 0
    assert study.draw()


def test_crashes_spend_no_patience(patient: JobSpec) -> None:
    study = Study(patient, in_memory(patient, DEFAULT), rule)
    default = study.draw()
    assert default
    study.measure(0, measured(default, 480, flat))
    for _ in range(2 * PATIENCE):
        trial = study.draw()
        assert trial
        assert trial.repeats is None
        study.fail(trial.number, Outcome.CRASHED, "a rank died")
    assert study.left > 0


def test_without_a_default_to_know_the_noise_by_all_trials_are_drawn(patient: JobSpec) -> None:
    study = Study(patient, in_memory(patient, DEFAULT), rule)
    study.draw()
    study.fail(0, Outcome.DIVERGED, "loss nan")
    list(steps(study, flat))
    assert len(search(study)) == 30


def test_a_study_cut_off_anywhere_ends_after_the_same_trials(storage: str, patient: JobSpec) -> None:
    study = cut_off_again_and_again(lambda: opened(storage, patient), flat, turns=7)
    calm = searched(patient, flat)
    assert facts(study.records) == facts(calm.records)
    assert ending(patient, study.records) == ending(patient, calm.records)
