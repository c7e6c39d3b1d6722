"""Screen and finish: trials pause at the first rung, the best of them are finished, the others are pruned."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import JobFile
from tests.learning_curves import curve
from tests.loop import DEFAULT, cut_off_again_and_again, facts, measured, searched, steps
from tuner.errors import BadInput
from tuner.search.scheduling import DEFAULT_AFTER, FINISHED, scheduler_for
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory, open_study
from tuner.study.screening import PAUSED
from tuner.study.study import Study


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    fidelity = {"iterations": 480, "rungs": [60, 240, 480]}
    return read_job(job_file(fidelity=fidelity, search={"scheduler": "screen"}, budget={"trials": 18}))


def with_outcome(study: Study, outcome: Outcome) -> list[Record]:
    return [r for r in study.records if r.outcome is outcome and r.trial.number]


def test_one_of_four_is_finished_and_those_are_the_best_so_far(job: JobSpec) -> None:
    study = searched(job, curve)
    finished, pruned = with_outcome(study, Outcome.COMPLETED), with_outcome(study, Outcome.PRUNED)
    assert len(finished) == -(-18 // FINISHED)
    assert len(finished) + len(pruned) == 17
    assert all([m.iteration for m in record.measurements] == [60, 240, 480] for record in finished)
    assert all([m.iteration for m in record.measurements] == [60] for record in pruned)
    best = max(study.records[1:], key=lambda record: record.value("mIoU", 60) or 0.0)
    assert best.outcome is Outcome.COMPLETED
    assert study.is_over


def test_the_default_is_screened_too_and_finished_after_three_others(job: JobSpec) -> None:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    ended = [number for number, iteration in steps(study, curve) if iteration == 480]
    assert ended.index(0) == DEFAULT_AFTER
    assert [m.iteration for m in study.records[0].measurements] == [60, 240, 480]


def test_a_search_that_is_cut_short_finishes_the_default_alone(job: JobSpec) -> None:
    budget = job.budget.model_copy(update={"gpu_hours": 20 / 3600})
    resources = job.resources.model_copy(update={"gpus_per_trial": 1})
    study = searched(job.model_copy(update={"budget": budget, "resources": resources}), curve)
    assert study.records[0].outcome is Outcome.COMPLETED
    assert {r.outcome for r in study.records[1:]} == {Outcome.PRUNED}


def test_a_paused_trial_waits_without_an_outcome_and_the_next_is_drawn(job: JobSpec) -> None:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    default = study.draw()
    assert default
    assert study.measure(0, measured(default, 60, curve)) == PAUSED
    first = study.draw()
    assert first
    assert study.measure(first.number, measured(first, 60, curve)) == PAUSED
    assert study.records[first.number].outcome is None
    following = study.draw()
    assert following
    assert following.number == 2


def test_who_asks_while_others_screen_is_given_more_to_screen(job: JobSpec) -> None:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    drawn = [study.draw() for _ in range(18)]
    assert len({trial.number for trial in drawn if trial}) == 18
    assert study.draw() is None, "the others may still turn out better"


@pytest.mark.parametrize("turns", [3, 7])
def test_a_search_that_is_cut_off_ends_as_one_that_is_left_alone(
    job: JobSpec, tmp_path: Path, turns: int
) -> None:
    def opener(name: str) -> Callable[[], Study]:
        storage = f"sqlite:///{tmp_path}/{name}.db"
        return lambda: Study(job, open_study(storage, job, {"data": "abc"}, DEFAULT), scheduler_for)

    cut_off = cut_off_again_and_again(opener("cut"), curve, turns)
    assert facts(cut_off.records) == facts(searched(job, curve).records)


def test_screening_needs_to_know_the_rung_to_screen_at(job_file: JobFile) -> None:
    fidelity = {"iterations": 480, "rungs": "auto"}
    with pytest.raises(BadInput, match="screen pauses trials at the first rung, which must be known"):
        read_job(job_file(fidelity=fidelity, search={"scheduler": "screen"}))


def test_a_search_without_a_rung_finishes_all(job_file: JobFile) -> None:
    job = read_job(job_file(fidelity={"iterations": 480}, search={"scheduler": "screen"}))
    assert {record.outcome for record in searched(job, curve).records} == {Outcome.COMPLETED}


def test_a_screened_search_keeps_away_from_what_runs_out_of_memory(job: JobSpec) -> None:
    """Three fifths of the space do. Trials that are paused or pruned have no value, but it is known that they fit."""
    budget = job.budget.model_copy(update={"trials": 60})
    study = Study(job.model_copy(update={"budget": budget}), in_memory(job, DEFAULT), scheduler_for)
    while trial := study.draw():
        if float(trial.params["lr"]) > 3e-4:
            study.fail(trial.number, Outcome.OUT_OF_MEMORY, "")
            continue
        last = study.records[trial.number].last
        for iteration in study.evaluation_points:
            if last and iteration <= last.iteration:
                continue
            if study.measure(trial.number, measured(trial, iteration, lambda *at: -curve(*at))):
                break
    assert len(with_outcome(study, Outcome.OUT_OF_MEMORY)) <= 10
