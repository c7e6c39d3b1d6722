"""The story of a study, told by a loop in place of a cluster, in a store of its own or Optuna's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import JobFile
from tuner.errors import BadInput, TunerError
from tuner.files import read_job
from tuner.job import Budget, JobSpec, Resources
from tuner.race import best
from tuner.search.scheduling import rule
from tuner.search.store import load_study, open_study
from tuner.study import Study
from tuner.trial import Measurement, Outcome, Record

DEFAULT = {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}


def curve(record: Record, iteration: int) -> float:
    return float(record.trial.params["lr"]) * 1000 + iteration / 100


def measurement(record: Record, iteration: int) -> Measurement:
    return Measurement(iteration, {"mIoU": curve(record, iteration)}, seconds=iteration / 10)


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def fingerprint(job: JobSpec) -> dict[str, object]:
    return {"space": job.space.model_dump(mode="json"), "data": "abc"}


def opened(storage: str, job: JobSpec) -> Study:
    return Study(job, open_study(storage, job, fingerprint(job), DEFAULT), rule)


def steps(study: Study) -> Iterator[tuple[int, int]]:
    """Runs a study one trial at a time, from each trial's last rung on, a step at every turn."""
    while trial := study.draw():
        record = study.records[trial.number]
        told = record.last.iteration if record.last else 0
        for iteration in (rung for rung in study.job.fidelity.stops if rung >= told):
            ended = study.measure(trial.number, measurement(record, iteration))
            yield trial.number, iteration
            if ended:
                break


def facts(records: list[Record]) -> list[object]:
    return [(r.trial, r.outcome, r.measurements) for r in records]


def test_a_study_ends_with_each_trial_once(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    list(steps(study))
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
    list(steps(study))
    assert study.records[0].trial.params == DEFAULT
    assert study.records[0].outcome is Outcome.COMPLETED


def test_a_study_cut_off_anywhere_ends_like_one_left_alone(job: JobSpec, tmp_path: Path) -> None:
    whole = opened(f"sqlite:///{tmp_path}/whole.db", job)
    list(steps(whole))
    storage = f"sqlite:///{tmp_path}/cut.db"
    for _ in range(100):
        study = opened(storage, job)
        for turn, _ in enumerate(steps(study)):
            if turn == 2:
                break
        else:
            break
    assert facts(study.records) == facts(whole.records)


def test_the_store_holds_what_the_study_knows(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    list(steps(study))
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


def test_a_trial_whose_rank_dies_is_drawn_again_until_its_retries_are_spent(
    storage: str, job: JobSpec
) -> None:
    study = opened(storage, job)
    first = study.draw()
    for _ in range(job.budget.retries):
        study.retry(0, "a rank died", died=True)
        assert load_study(storage, job.name).records()[0].outcome is None
        assert study.draw() == first
    study.retry(0, "a rank died", died=True)
    (record,) = load_study(storage, job.name).records()
    assert (record.outcome, record.note) == (Outcome.CRASHED, "a rank died")


def test_an_error_raised_twice_in_a_row_is_not_tried_a_third_time(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    study.draw()
    for note, outcome in (("no room", None), ("no file", None), ("no file", Outcome.CRASHED)):
        study.retry(0, note, died=False)
        assert study.records[0].outcome is outcome


def test_the_best_is_a_completed_trial(storage: str, job: JobSpec) -> None:
    study = opened(storage, job)
    list(steps(study))
    first = best(job, study.records)
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
    list(steps(opened(storage, job)))
    study = opened(storage, other)
    assert study.records == []
    list(steps(study))
    assert len(load_study(storage, "syn").records()) == len(load_study(storage, "other").records()) == 12


def test_a_study_that_is_not_there_is_told_with_those_that_are(storage: str, job: JobSpec) -> None:
    opened(storage, job)
    with pytest.raises(TunerError, match="there is no study nope; there are: syn"):
        load_study(storage, "nope")


def test_no_trial_is_drawn_after_the_hours(storage: str, job: JobSpec) -> None:
    late = job.model_copy(update={"budget": job.budget.model_copy(update={"hours": 1e-12})})
    assert opened(storage, late).draw() is None


def test_the_search_ends_with_its_gpu_hours_and_the_race_follows(storage: str, job: JobSpec) -> None:
    budget = Budget(trials=12, seeds=2, gpu_hours=100 / 3600)
    limited = job.model_copy(
        update={"budget": budget, "resources": Resources(gpus_per_trial=1, global_batch=8)}
    )
    study = opened(storage, limited)
    list(steps(study))
    search = [r.last.seconds for r in study.records if r.trial.repeats is None and r.last]
    assert sum(search[:-1]) < 100 <= sum(search)
    assert len(study.records) > len(search)
    assert study.is_over


def test_the_hours_before_a_restart_count(storage: str, job: JobSpec) -> None:
    list(steps(opened(storage, job)))
    more = {"trials": 13, "hours": 24 / 3600}
    late = job.model_copy(update={"budget": job.budget.model_copy(update=more)})
    assert opened(storage, late).draw() is None


@pytest.fixture
def raced(job: JobSpec) -> JobSpec:
    return job.model_copy(update={"budget": job.budget.model_copy(update={"seeds": 3})})


def test_after_the_search_default_and_best_few_are_trained_again(storage: str, raced: JobSpec) -> None:
    study = opened(storage, raced)
    list(steps(study))
    search = [r for r in study.records if r.trial.repeats is None]
    repeats = study.records[len(search) :]
    completed = [r for r in search[1:] if r.outcome is Outcome.COMPLETED]
    finalists = sorted(completed, key=lambda r: -(r.value("mIoU") or 0))[:4]
    assert len(search) == 12
    assert {r.trial.repeats for r in repeats} == {0, *(r.trial.number for r in finalists)}
    assert all(r.trial.params == search[r.trial.repeats or 0].trial.params for r in repeats)
    assert all(r.outcome is Outcome.COMPLETED for r in repeats)
    assert {r.trial.seed for r in repeats if r.trial.repeats == 0} == {1, 2, 3}
    assert study.is_over


def test_a_race_cut_off_anywhere_ends_like_one_left_alone(raced: JobSpec, tmp_path: Path) -> None:
    whole = opened(f"sqlite:///{tmp_path}/whole.db", raced)
    list(steps(whole))
    storage = f"sqlite:///{tmp_path}/cut.db"
    for _ in range(100):
        study = opened(storage, raced)
        for turn, _ in enumerate(steps(study)):
            if turn == 4:
                break
        else:
            break
    assert facts(study.records) == facts(whole.records)


def test_no_repeat_is_drawn_while_the_search_runs(storage: str, raced: JobSpec) -> None:
    study = opened(storage, raced.model_copy(update={"budget": Budget(trials=2, seeds=3)}))
    first, second = study.draw(), study.draw()
    assert first
    assert second
    study.measure(first.number, measurement(study.records[0], 480))
    assert study.draw() is None
    assert not study.is_over
    study.measure(second.number, measurement(study.records[1], 480))
    drawn = [study.draw(), study.draw(), study.draw()]
    assert [trial and (trial.repeats, trial.seed) for trial in drawn] == [(0, 1), (1, 1), None]
