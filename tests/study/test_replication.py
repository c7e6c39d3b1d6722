"""Who is best: by single trainings at first, then by those that were trained again."""

from pathlib import Path

import pytest

from tests.conftest import JobFile
from tests.learning_curves import curve
from tests.loop import DEFAULT, measured, searched
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import Budget, JobSpec
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory
from tuner.study.history import History
from tuner.study.replication import best, judged, pending_replicates
from tuner.study.study import Study


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 4, "seeds": 3}))


def trained(number: int, value: float, seed: int = 0, replicates: int | None = None) -> Record:
    trial = Trial(number, {"lr": 1e-4}, seed, replicates)
    return Record(trial, Outcome.COMPLETED, (Measurement(480, {"mIoU": value}, 1.0),))


SEARCH = [trained(0, 30.0), trained(1, 38.0), trained(2, 36.0), trained(3, 20.0)]


def repeated(**values: tuple[float, ...]) -> list[Record]:
    """Trial 0, 1, … again, with seeds 1, 2, …"""
    pairs = [(int(name[1:]), seed, v) for name, vs in values.items() for seed, v in enumerate(vs, start=1)]
    return [trained(4 + i, value, seed, number) for i, (number, seed, value) in enumerate(pairs)]


def test_the_winner_of_the_race_is_the_best_whatever_the_search_said(job: JobSpec) -> None:
    records = [*SEARCH, *repeated(t0=(30.1, 29.9, 30.2), t1=(33.0, 33.2, 32.9), t2=(35.8, 36.1, 36.2))]
    found, first = judged(History(job, records)), best(History(job, records))
    assert found
    assert first is SEARCH[2]
    assert (found.candidate, found.ruling) == (2, "confirmed")
    assert found.difference == pytest.approx(35.95 - 30.0, abs=0.01)


def test_the_default_is_best_when_all_others_are_worse(job: JobSpec) -> None:
    records = [*SEARCH, *repeated(t0=(30.1, 29.9, 30.2), t1=(23.0, 23.2, 22.9))]
    assert best(History(job, records)) is SEARCH[0]


def test_of_a_loss_less_is_better(job: JobSpec) -> None:
    loss = job.model_copy(update={"objective": job.objective.model_copy(update={"direction": "minimize"})})
    records = [*SEARCH, *repeated(t0=(30.1, 29.9, 30.2), t3=(20.1, 20.0, 19.8))]
    found = judged(History(loss, records))
    assert found
    assert (found.candidate, found.ruling) == (3, "confirmed")
    assert found.low < found.difference < found.high < 0


def test_a_candidate_that_fails_with_another_seed_leaves_the_race(job: JobSpec) -> None:
    failed = Record(Trial(8, {"lr": 1e-4}, 1, 1), Outcome.DIVERGED)
    first_round = [trained(5, 30.0, 1, 0), failed, trained(6, 36.0, 1, 2), trained(7, 20.0, 1, 3)]
    assert pending_replicates(History(job, [*SEARCH, *first_round])) == [(0, 2), (2, 2)]


def test_nothing_is_repeated_where_the_default_failed(job: JobSpec) -> None:
    without = [Record(Trial(0, {"lr": 1e-4}, 0), Outcome.CRASHED), *SEARCH[1:]]
    assert pending_replicates(History(job, without)) == []
    assert judged(History(job, without)) is None


def test_one_seed_means_no_repeats(job_file: JobFile, tmp_path: Path) -> None:
    assert pending_replicates(History(read_job(job_file(budget={"trials": 4, "seeds": 1})), SEARCH)) == []


@pytest.fixture
def raced(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 12, "seeds": 3}))


def test_after_the_search_default_best_few_and_best_of_each_number_of_centers_are_trained_again(
    raced: JobSpec,
) -> None:
    study = searched(raced, curve)
    search = [r for r in study.records if r.trial.replicate_of is None]
    replicates = study.records[len(search) :]
    completed = [r for r in search if r.outcome is Outcome.COMPLETED]
    ranked = sorted(completed, key=lambda r: -(r.value("mIoU") or 0))
    best_few = [r.trial.number for r in ranked if r.trial.number != 0][:2]
    best_by_centers = {r.trial.params["centers"]: r.trial.number for r in reversed(ranked)}
    assert len(search) == 12
    assert {r.trial.replicate_of for r in replicates} == {0, *best_few, *best_by_centers.values()}
    assert all(r.trial.params == search[r.trial.replicate_of or 0].trial.params for r in replicates)
    assert all(r.outcome is Outcome.COMPLETED for r in replicates)
    assert {r.trial.seed for r in replicates if r.trial.replicate_of == 0} == {1, 2}
    assert study.is_over


def test_no_repeat_is_drawn_while_the_search_runs(raced: JobSpec) -> None:
    job = raced.model_copy(update={"budget": Budget(trials=2, seeds=3)})
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    first, second = study.draw(), study.draw()
    assert first
    assert second
    study.measure(first.number, measured(first, 480, curve))
    assert study.draw() is None
    assert not study.is_over
    study.measure(second.number, measured(second, 480, curve))
    drawn = [study.draw(), study.draw(), study.draw()]
    assert [trial and (trial.replicate_of, trial.seed) for trial in drawn] == [(0, 1), (1, 1), None]
