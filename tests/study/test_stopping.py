"""When a search has spent its budget, or has nothing left to gain."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest

from tests.conftest import JobFile
from tests.learning_curves import curve, flat
from tests.loop import DEFAULT, measured, searched, steps
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import Budget, JobSpec, Resources
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory, open_study
from tuner.study.history import History
from tuner.study.replication import judged, rounds
from tuner.study.stopping import no_verdict, stop_reason, time_spent
from tuner.study.study import Study

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
    return Study(job, open_study(storage, job, {"data": "abc"}, DEFAULT), scheduler_for)


def rising(trial: Trial, iteration: int) -> float:
    """Each is better than the one before, by much more than the noise."""
    return 10.0 * trial.number if trial.replicate_of is None else Random(trial.seed).gauss(0, 1)


def search(study: Study) -> list[Record]:
    return [record for record in study.records if record.trial.replicate_of is None]


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
    search = [r.last.seconds for r in study.records if r.trial.replicate_of is None and r.last]
    assert sum(search[:-1]) < 100 <= sum(search)
    assert len(study.records) > len(search)
    assert study.is_over


def test_a_search_keeps_room_in_its_hours_for_the_verdict(storage: str, job: JobSpec) -> None:
    """Three rounds of 48 seconds are needed, as trials overlap; 180 seconds are there, and 132 after the restart."""
    budget = Budget(trials=12, seeds=3, hours=180 / 3600)
    short = job.model_copy(update={"budget": budget})
    for turn, _ in enumerate(steps(opened(storage, short), curve), start=1):
        if turn == 15:
            break
    study = opened(storage, short)
    list(steps(study, curve))
    assert len(search(study)) < 12
    assert judged(study.history)
    assert stop_reason(study.history) == "the rest of the 0.05 hours is kept for the verdict"


def test_hours_that_leave_no_room_for_a_verdict_are_told(job: JobSpec) -> None:
    earlier = searched(job, curve).history
    budget = Budget(trials=12, seeds=3, hours=0.05)
    short = job.model_copy(update={"budget": budget})
    (note,) = no_verdict(short, rounds(History(short, [])), [earlier])
    assert note.startswith("budget.hours: 0.05 leaves no room for a verdict: by study syn")
    assert list(no_verdict(job, rounds(History(job, [])), [earlier])) == []


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
    replicates = [record.trial for record in study.records if record.trial.replicate_of == 0]
    assert sorted(trial.seed for trial in replicates) == [1, 2, 3]
    assert study.is_over
    assert {record.trial.replicate_of for record in study.records} > {None, 0}, "the race is missing"
    reason = stop_reason(History(patient, study.records))
    assert reason
    assert reason.startswith(f"the latest {PATIENCE} trials gained 0.0")
    assert "less than the noise between seeds, " in reason


def test_a_search_that_gains_more_than_the_noise_goes_on(patient: JobSpec) -> None:
    study = searched(patient, rising)
    assert len(search(study)) == 30
    assert stop_reason(History(patient, study.records)) == "all trials were drawn"


def test_a_gain_of_a_trial_that_still_ran_lets_the_search_go_on(patient: JobSpec) -> None:
    study = Study(patient, in_memory(patient, DEFAULT), scheduler_for)
    slow: Trial | None = None
    while trial := study.draw():
        if trial.number > 0 and slow is None:
            slow = trial
        else:
            study.measure(trial.number, measured(trial, 480, flat))
    assert slow
    assert study.left == 0
    assert stop_reason(History(patient, study.records)) is None
    study.measure(slow.number, Measurement(480, {"mIoU": 99.0}, 1.0))
    assert study.left > 0
    assert study.draw()


def test_crashes_spend_no_patience(patient: JobSpec) -> None:
    study = Study(patient, in_memory(patient, DEFAULT), scheduler_for)
    default = study.draw()
    assert default
    study.measure(0, measured(default, 480, flat))
    for _ in range(2 * PATIENCE):
        trial = study.draw()
        assert trial
        assert trial.replicate_of is None
        study.fail(trial.number, Outcome.CRASHED, "a rank died")
    assert study.left > 0


def test_without_a_default_to_know_the_noise_by_all_trials_are_drawn(patient: JobSpec) -> None:
    study = Study(patient, in_memory(patient, DEFAULT), scheduler_for)
    study.draw()
    study.fail(0, Outcome.DIVERGED, "loss nan")
    list(steps(study, flat))
    assert len(search(study)) == 30
