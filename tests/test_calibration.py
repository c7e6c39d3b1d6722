"""Rungs that the first trials choose: by what each candidate tells of the end."""

from math import log10
from pathlib import Path
from random import Random

import pytest

from tests.conftest import JobFile
from tests.loop import DEFAULT, cut_off_again_and_again, facts, measured, searched
from tuner.calibration import TRIALS, calibration
from tuner.errors import BadInput
from tuner.files import read_job
from tuner.job import JobSpec
from tuner.search.scheduling import rule
from tuner.search.store import in_memory, open_study
from tuner.study import Study
from tuner.tracking.report import report
from tuner.trial import Measurement, Outcome, Record, Trial

FEW, MANY = TRIALS
CANDIDATES = (30, 60, 120, 240, 480)


def height(trial: Trial) -> float:
    return -((log10(float(trial.params["lr"])) + 2.7) ** 2)


def noise(trial: Trial, iteration: int) -> float:
    return Random(f"{trial.params} {iteration}").gauss(0, 1)


def good_early(trial: Trial, iteration: int) -> float:
    return height(trial) + iteration / 480


def good_late(trial: Trial, iteration: int) -> float:
    return height(trial) if iteration >= 240 else noise(trial, iteration)


def never_good(trial: Trial, iteration: int) -> float:
    return noise(trial, iteration)


def better_and_better(trial: Trial, iteration: int) -> float:
    return height(trial) + (0.3 - iteration / 1600) * noise(trial, iteration)


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(fidelity={"iterations": 480, "rungs": "auto"}, budget={"trials": 18}, seed=1))


def stops(record: Record) -> tuple[int, ...]:
    return tuple(measurement.iteration for measurement in record.measurements)


def test_the_first_trials_run_to_the_end_past_every_candidate(job: JobSpec) -> None:
    study = searched(job, better_and_better)
    assert {stops(record) for record in study.records[:FEW]} == {CANDIDATES}
    later = study.records[FEW:]
    assert all(set(stops(record)) <= set(study.job.fidelity.stops) for record in later)
    assert Outcome.PRUNED in {record.outcome for record in later}


def test_where_early_rungs_are_good_the_first_is_the_cheapest(job: JobSpec) -> None:
    assert searched(job, good_early).job.fidelity.stops == (30, 120, 480)


def test_where_early_rungs_tell_nothing_the_first_is_late(job: JobSpec) -> None:
    assert searched(job, good_late).job.fidelity.stops == (240, 480)


def test_where_nothing_tells_the_end_nobody_is_pruned(job: JobSpec) -> None:
    study = searched(job, never_good)
    assert {stops(record) for record in study.records[:MANY]} == {CANDIDATES}
    assert {stops(record) for record in study.records[MANY:]} == {(480,)}
    assert study.job.fidelity.stops == (480,)
    assert {record.outcome for record in study.records} == {Outcome.COMPLETED}


def test_without_any_correlation_rungs_are_rarely_taken(
    job: JobSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    def first(study: int) -> list[Record]:
        trials = [Trial(number, {"lr": study * 100.0 + number}, 0) for number in range(MANY)]
        return [
            Record(
                trial,
                Outcome.COMPLETED,
                tuple(Measurement(stop, {"mIoU": noise(trial, stop)}, 1.0) for stop in CANDIDATES),
            )
            for trial in trials
        ]

    found = [calibration(job, first(study)) for study in range(500)]
    taken = 100 * sum(len(each.rungs) > 1 for each in found if each) / len(found)
    with capsys.disabled():
        print(
            f"\ncalibration: without any correlation rungs are taken in {taken:.1f} % of {len(found)} studies"
        )
    assert taken <= 15


def test_failed_trials_are_left_out_and_waited_for(job: JobSpec) -> None:
    study = Study(job, in_memory(job, DEFAULT), rule)
    drawn = [study.draw() for _ in range(FEW + 1)]
    first, second, *others = (trial for trial in drawn if trial)
    for trial in (*others, second):
        for iteration in CANDIDATES:
            study.measure(trial.number, measured(trial, iteration, good_early))
    assert study.job.fidelity.rungs == "auto"
    study.fail(first.number, Outcome.CRASHED, "a rank died")
    assert study.job.fidelity.rungs == (30, 120, 480)


def test_trials_that_run_when_rungs_are_chosen_are_compared_from_their_next_rung_on(job: JobSpec) -> None:
    study = Study(job, in_memory(job, DEFAULT), rule)
    *first, runs = [trial for trial in (study.draw() for _ in range(FEW + 1)) if trial]
    assert study.measure(runs.number, Measurement(30, {"mIoU": -100.0}, 1.0)) is None
    for trial in first:
        for iteration in CANDIDATES:
            study.measure(trial.number, measured(trial, iteration, good_early))
    assert study.measure(runs.number, Measurement(60, {"mIoU": -100.0}, 1.0)) is None
    assert study.measure(runs.number, Measurement(120, {"mIoU": -100.0}, 1.0)) is Outcome.PRUNED


def test_a_study_cut_off_anywhere_chooses_the_same_rungs_and_ends_the_same(
    job: JobSpec, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"

    def opened() -> Study:
        return Study(job, open_study(storage, job, {"data": "abc"}, DEFAULT), rule)

    study, calm = cut_off_again_and_again(opened, better_and_better, 9), searched(job, better_and_better)
    assert study.job.fidelity.stops == calm.job.fidelity.stops
    assert facts(study.records) == facts(calm.records)


def test_the_report_says_what_every_candidate_was_worth(job: JobSpec) -> None:
    _, *lines = report(job, searched(job, good_late).records).splitlines()
    assert lines[0].startswith("rungs: 240, 480. Rank correlation with the end, by 8 trials")
    assert [line.split()[0] for line in lines[1:5]] == ["30:", "60:", "120:", "240:"]
    assert lines[1].endswith(", left out")
    assert lines[4] == "  240: +0.97 (+0.88 to +0.99), a rung"
    assert report(job, []).startswith("rungs: not chosen yet, by the first 8 trials")


def test_rungs_are_a_list_or_auto_and_losses_need_a_list(job_file: JobFile) -> None:
    wrong = {
        "best": "fidelity.rungs: Input should be 'auto', got 'best'",
        5: "fidelity.rungs: Input should be a valid tuple, got 5",
    }
    for rungs, message in wrong.items():
        with pytest.raises(BadInput) as caught:
            read_job(job_file(fidelity={"iterations": 480, "rungs": rungs}))
        assert [problem.message for problem in caught.value.problems] == [message]
    with pytest.raises(BadInput, match="auto cannot compare losses"):
        read_job(job_file(fidelity={"iterations": 480, "rungs": "auto"}, objective={"metric": "loss"}))
