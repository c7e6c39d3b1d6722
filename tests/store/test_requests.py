"""What is asked of a running study happens once, whenever its driver is killed."""

from pathlib import Path

import pytest

from tests.conftest import JobFile
from tests.learning_curves import curve
from tests.loop import DEFAULT, measured, steps
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome
from tuner.spec.yaml_files import read_job
from tuner.store.requests import Acting, ask, held, lift, requests
from tuner.store.resuming import CutOff, LeftAlone, found
from tuner.store.store import OptunaStore
from tuner.store.studies import load_study, open_study
from tuner.study.study import Study

ADDED = {"lr": 2e-3, "weight_decay": 1e-4, "centers": 25}


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 4}))


def begun(storage: str, job: JobSpec, left: list[int | None]) -> tuple[OptunaStore, Study, Acting]:
    store = open_study(storage, job, {"data": "abc"}, DEFAULT, config="model = 1\n")
    study = Study(store.job, store, scheduler_for)
    return store, study, Acting(storage, store, study, left.append)


def answers(storage: str) -> list[str | None]:
    return [each.answer for each in requests(storage, "syn")]


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_study_ends_as_asked_also_when_killed_between_what_it_did_and_its_tick(
    job: JobSpec, storage: str, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    left: list[int | None] = []
    _, study, acting = begun(storage, job, left)
    for kind, value in (
        ("add", ADDED),
        ("budget", {"trials": "+2", "hours": "5"}),
        ("stop trial", {"trial": 1}),
    ):
        ask(storage, "syn", kind, value)  # type: ignore[arg-type]
    acting.take_up()
    assert answers(storage) == [None] * 3, "the default comes first"
    [default, second] = [study.draw(), study.draw()]
    assert default
    assert second
    study.measure(1, measured(second, 60, curve))
    if is_killed:
        with monkeypatch.context() as killed:
            killed.setattr("tuner.store.requests.tick", lambda *_: None)
            acting.take_up()
        _, study, acting = begun(storage, job, left)
    acting.take_up()
    acting.take_up()
    assert answers(storage) == ["is trial 2", "trials 7, hours 5", "it had ended" if is_killed else "stopped"]
    assert left == [1]
    assert study.measure(1, measured(second, 160, curve)) is Outcome.PRUNED
    list(steps(begun(storage, job, left)[1], curve))
    kept = load_study(storage, "syn")
    assert (kept.job.budget.trials, kept.job.budget.hours) == (7, 5)
    records = kept.records()
    assert len(records) == 7
    assert [record.trial.number for record in records if record.trial.params == ADDED] == [2]
    assert records[1].note.startswith("stopped by")
    assert [each.iteration for each in records[1].measurements] == [60]
    assert all(record.outcome for record in records)


def test_another_budget_in_the_jobs_file_counts_more_than_an_earlier_request(
    job: JobSpec, storage: str
) -> None:
    _, study, acting = begun(storage, job, [])
    study.draw()
    ask(storage, "syn", "budget", {"trials": "+2"})
    acting.take_up()
    assert begun(storage, job, [])[1].job.budget.trials == 6
    more = job.model_copy(update={"budget": job.budget.model_copy(update={"trials": 9})})
    assert begun(storage, more, [])[1].job.budget.trials == 9


def test_a_paused_study_is_left_alone_until_it_is_resumed_by_name(job: JobSpec, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    left: list[int | None] = []
    store, study, acting = begun(storage, job, left)
    study.draw()
    ask(storage, "syn", "pause", {})
    acting.take_up()
    assert (left, answers(storage)) == ([None], ["left"])
    assert store.lease
    store.lease.give_back()
    alone = found(storage, "syn", is_named=False)
    assert isinstance(alone, LeftAlone)
    assert alone.why.endswith("asked it to pause: resume it by name")
    assert isinstance(found(storage, "syn", is_named=True), CutOff)
    lift(storage, "syn")
    assert held(storage, "syn") is None
    assert [each.kind for each in requests(storage, "syn")] == ["pause", "resume"]


def test_a_pause_that_was_lifted_before_anybody_took_it_up_is_over(job: JobSpec, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    left: list[int | None] = []
    _, study, acting = begun(storage, job, left)
    study.draw()
    ask(storage, "syn", "pause", {})
    lift(storage, "syn")
    acting.take_up()
    assert (left, answers(storage)) == ([], ["left", "started"])
