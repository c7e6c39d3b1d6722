"""Rungs that the first trials choose: by what each candidate tells of the end."""

import pytest

from tests.conftest import JobFile
from tests.learning_curves import better_and_better, height, noise
from tests.loop import DEFAULT, measured, searched
from tests.power import CANDIDATES, percent, rung_selections
from tuner.errors import BadInput
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.studies import in_memory
from tuner.study.history import History
from tuner.study.rung_selection import TRIALS
from tuner.study.study import Study
from tuner.tracking.report.text import report

FEW, MANY = TRIALS


def good_early(trial: Trial, iteration: int) -> float:
    return height(trial) + iteration / 480


def good_late(trial: Trial, iteration: int) -> float:
    return height(trial) if iteration >= 240 else noise(trial, iteration)


def never_good(trial: Trial, iteration: int) -> float:
    return noise(trial, iteration)


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(fidelity={"iterations": 480, "rungs": "auto"}, budget={"trials": 18}, seed=1))


def evaluation_points(record: Record) -> tuple[int, ...]:
    return tuple(measurement.iteration for measurement in record.measurements)


def test_the_first_trials_run_to_the_end_past_every_candidate(job: JobSpec) -> None:
    study = searched(job, better_and_better)
    assert {evaluation_points(record) for record in study.records[:FEW]} == {CANDIDATES}
    later = study.records[FEW:]
    assert all(set(evaluation_points(record)) <= set(study.evaluation_points) for record in later)
    assert Outcome.PRUNED in {record.outcome for record in later}


def test_where_early_rungs_are_good_the_first_is_the_cheapest(job: JobSpec) -> None:
    assert searched(job, good_early).evaluation_points == (30, 120, 480)


def test_where_early_rungs_tell_nothing_the_first_is_late(job: JobSpec) -> None:
    assert searched(job, good_late).evaluation_points == (240, 480)


def test_where_nothing_tells_the_end_nobody_is_pruned(job: JobSpec) -> None:
    study = searched(job, never_good)
    assert {evaluation_points(record) for record in study.records[:MANY]} == {CANDIDATES}
    assert {evaluation_points(record) for record in study.records[MANY:]} == {(480,)}
    assert study.evaluation_points == (480,)
    assert {record.outcome for record in study.records} == {Outcome.COMPLETED}


def test_without_any_correlation_rungs_are_rarely_taken(job: JobSpec) -> None:
    assert percent(len(found.rungs) > 1 for found in rung_selections(job, 300) if found) <= 15


def test_failed_trials_are_left_out_and_waited_for(job: JobSpec) -> None:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    drawn = [study.draw() for _ in range(FEW + 1)]
    first, second, *others = (trial for trial in drawn if trial)
    for trial in (*others, second):
        for iteration in CANDIDATES:
            study.measure(trial.number, measured(trial, iteration, good_early))
    assert study.job.fidelity.rungs == "auto"
    study.fail(first.number, Outcome.CRASHED, "a rank died")
    assert study.evaluation_points == (30, 120, 480)


def test_trials_that_run_when_rungs_are_chosen_are_compared_from_their_next_rung_on(job: JobSpec) -> None:
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    *first, runs = [trial for trial in (study.draw() for _ in range(FEW + 1)) if trial]
    assert study.measure(runs.number, Measurement(30, {"mIoU": -100.0}, 1.0)) is None
    for trial in first:
        for iteration in CANDIDATES:
            study.measure(trial.number, measured(trial, iteration, good_early))
    assert study.measure(runs.number, Measurement(60, {"mIoU": -100.0}, 1.0)) is None
    assert study.measure(runs.number, Measurement(120, {"mIoU": -100.0}, 1.0)) is Outcome.PRUNED


def test_the_report_says_what_every_candidate_was_worth(job: JobSpec) -> None:
    _, *lines = report(History(job, searched(job, good_late).records)).splitlines()
    assert lines[0].startswith("rungs: 240, 480. Rank correlation with the end, by 8 trials")
    assert [line.split()[0] for line in lines[1:5]] == ["30:", "60:", "120:", "240:"]
    assert lines[1].endswith(", left out")
    assert lines[4] == "  240: +0.97 (+0.88 to +0.99), a rung"
    assert report(History(job, [])).startswith("rungs: not chosen yet, by the first 8 trials")


def test_rungs_are_chosen_for_a_loss_too(job_file: JobFile) -> None:
    objective = {"metric": "loss", "direction": "minimize"}
    job = read_job(job_file(fidelity={"iterations": 480, "rungs": "auto"}, objective=objective))
    study = Study(job, in_memory(job, DEFAULT), scheduler_for)
    while trial := study.draw():
        for stop in study.evaluation_points:
            if study.measure(trial.number, Measurement(stop, {"loss": 9 - good_early(trial, stop)}, 1.0)):
                break
    assert study.evaluation_points[0] == 30
    assert Outcome.PRUNED in {record.outcome for record in study.records[FEW:]}


def test_rungs_are_a_list_or_auto(job_file: JobFile) -> None:
    wrong = {
        "best": "fidelity.rungs: Input should be 'auto', got 'best'",
        5: "fidelity.rungs: Input should be a valid tuple, got 5",
    }
    for rungs, message in wrong.items():
        with pytest.raises(BadInput) as caught:
            read_job(job_file(fidelity={"iterations": 480, "rungs": rungs}))
        assert [problem.message for problem in caught.value.problems] == [message]
