"""The verdict between numbers of centers on simulated noise, and in a study."""

import random

import pytest

from tests.conftest import JobFile
from tests.loop import searched
from tests.power import comparisons, holds, percent, tells_a_difference
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.spec.yaml_files import read_job
from tuner.study.center_comparison import comparison
from tuner.study.history import History
from tuner.study.replication import compared, findings, pending_replicates
from tuner.study.verdict import Values
from tuner.tracking.report.text import report

EQUAL = dict.fromkeys((4, 25, 49), 0.0)
STUDIES = 500


@pytest.mark.parametrize("numbers", [(4, 25, 49), (4, 9, 16, 25, 36, 49)])
def test_at_most_one_study_in_twenty_tells_a_difference_where_there_is_none(numbers: tuple[int, ...]) -> None:
    equal = dict.fromkeys(numbers, 0.0)
    assert percent(map(tells_a_difference, comparisons(equal, 5, STUDIES))) <= 5


def test_the_power_at_twice_the_noise() -> None:
    seen = {seeds: comparisons(EQUAL | {25: 2.0}, seeds, 200) for seeds in (3, 5, 8)}
    three, five, eight = (
        percent((each.centers, each.ruling) == (25, "confirmed") for each in found) for found in seen.values()
    )
    assert three < five < eight
    assert eight >= 80


def test_intervals_hold_the_true_differences_all_together() -> None:
    truth = {4: 0.0, 25: 1.0, 49: 1.5}
    assert percent(holds(found, truth) for found in comparisons(truth, 3, STUDIES)) >= 95


def test_only_seeds_that_all_have_count() -> None:
    values: dict[int, Values] = {4: {1: 1.0, 2: 2.0, 3: 9.0}, 25: {1: 3.0, 2: 4.0}}
    found = comparison({4: 7, 25: 8}, values, (0.1, 4))
    assert found
    assert (found.centers, found.trial, found.seeds, found.ruling) == (25, 8, 2, "confirmed")
    (other,) = found.others
    assert (other.centers, other.trial, other.difference, other.ruling) == (4, 7, -2.0, "worse")
    assert comparison({4: 7}, {4: {1: 1.0, 2: 2.0}}, (0.1, 4)) is None
    assert comparison({4: 7, 25: 8}, {4: {1: 1.0}, 25: {1: 3.0}}, (0.1, 4)) is None


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 12, "seeds": 3}, search={"scheduler": "none"}))


def curve(trial: Trial, iteration: int) -> float:
    """The fewer centers the better, by far more than the noise."""
    return 10.0 - int(trial.params["centers"]) + random.Random(f"{trial}").gauss(0, 0.1) + iteration / 480


def test_the_best_of_each_number_is_repeated_with_every_seed(job: JobSpec) -> None:
    records = searched(job, curve).records
    found = compared(History(job, records))
    assert found
    assert (found.centers, found.ruling, found.seeds) == (4, "confirmed", 3)
    assert [(other.centers, other.ruling) for other in found.others] == [(25, "worse"), (49, "worse")]
    for number in (other.trial for other in found.others):
        assert {r.trial.seed for r in records if r.trial.replicate_of == number} == {1, 2, 3}
    search = {r.trial.number: r for r in records if r.trial.replicate_of is None}
    of_25 = [r for r in search.values() if r.trial.params["centers"] == 25]
    assert search[found.others[0].trial].value("mIoU") == max(r.value("mIoU") or 0 for r in of_25)


def test_the_report_and_the_export_say_which_number_is_best(job: JobSpec) -> None:
    records = searched(job, curve).records
    *_, head, second, third = report(History(job, records)).splitlines()
    assert head.startswith("centers: 4 came out best (trial ")
    assert "confirmed. Others against it, over 3 seeds (mIoU, 95 % interval):" in head
    assert second.startswith("  25 (trial ")
    assert second.endswith(", worse")
    assert third.startswith("  49 (trial ")
    assert findings(History(job, records))["centers"]["others"][1]["ruling"] == "worse"


def test_of_a_loss_less_is_better(job: JobSpec) -> None:
    loss = job.model_copy(update={"objective": job.objective.model_copy(update={"direction": "minimize"})})
    found = compared(History(loss, searched(loss, lambda trial, iteration: -curve(trial, iteration)).records))
    assert found
    assert found.centers == 4
    assert all(0 < other.low < other.difference < other.high for other in found.others)


def test_a_number_whose_trial_fails_with_another_seed_is_left_out(job: JobSpec) -> None:
    def trained(
        number: int, centers: int, value: float, seed: int = 0, replicates: int | None = None
    ) -> Record:
        params = {"lr": 1e-4, "weight_decay": 1e-4, "centers": centers}
        measured = (Measurement(480, {"mIoU": value}, 1.0),)
        return Record(Trial(number, params, seed, replicates), Outcome.COMPLETED, measured)

    search = [trained(0, 4, 30.0), trained(1, 25, 31.0), trained(2, 49, 32.0)]
    failed = Record(Trial(5, search[2].trial.params, 1, 2), Outcome.DIVERGED)
    first = [trained(3, 4, 30.0, 1, 0), trained(4, 25, 31.0, 1, 1), failed]
    assert pending_replicates(History(job, [*search, *first])) == [(0, 2), (1, 2)]
    second = [trained(6, 4, 30.1, 2, 0), trained(7, 25, 31.1, 2, 1)]
    found = compared(History(job, [*search, *first, *second]))
    assert found
    assert (found.centers, [other.centers for other in found.others]) == (25, [4])
