"""The verdict between numbers of centers on simulated noise, and in a study."""

import random
from collections.abc import Callable, Mapping

import pytest

from tests.conftest import JobFile
from tests.loop import searched
from tuner.centers import Comparison, comparison
from tuner.files import read_job
from tuner.job import JobSpec
from tuner.race import FINALISTS, compared, due, findings
from tuner.tracking.report import report
from tuner.trial import Measurement, Outcome, Record, Trial
from tuner.verdict import Values, noise, racing

STUDIES, TRIALS = 2_000, 24
Truth = Mapping[int, float]
"""By number of centers, how much better it truly is, in standard deviations between seeds."""
EQUAL = dict.fromkeys((4, 25, 49), 0.0)


def simulated(truth: Truth, seeds: int, chance: random.Random) -> Comparison:
    """A search of single trainings, then the race of its best few and of the best of each number."""
    numbers = list(truth)
    centers = {trial: numbers[trial % len(numbers)] for trial in range(TRIALS)}
    found = {trial: truth[centers[trial]] + chance.gauss(0, 1) for trial in centers}
    ranked = sorted(found, key=lambda trial: -found[trial])
    bests = {number: next(trial for trial in ranked if centers[trial] == number) for number in numbers}
    racers = list(dict.fromkeys([*ranked[:FINALISTS], *bests.values()]))
    values: dict[int, dict[int, float]] = {trial: {} for trial in racers}
    default = {0: chance.gauss(0, 1)}
    for seed in range(1, seeds + 1):
        default[seed] = chance.gauss(0, 1)
        for trial in racers:
            values[trial][seed] = truth[centers[trial]] + chance.gauss(0, 1)
        can_win = {*racing(default, {trial: values[trial] for trial in racers}), *bests.values()}
        racers = [trial for trial in racers if trial in can_win]
    repeats = {number: values[trial] for number, trial in bests.items()}
    result = comparison(bests, repeats, noise([default, *values.values()]))
    assert result
    return result


def share(truth: Truth, seeds: int, told: Callable[[Comparison], bool], studies: int = STUDIES // 4) -> float:
    chance = random.Random(1)
    return 100 * sum(told(simulated(truth, seeds, chance)) for _ in range(studies)) / studies


@pytest.mark.parametrize("numbers", [(4, 25, 49), (4, 9, 16, 25, 36, 49)])
def test_at_most_one_study_in_twenty_tells_a_difference_where_there_is_none(
    numbers: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    equal = dict.fromkeys(numbers, 0.0)
    wrong = share(equal, 3, lambda found: any(o.ruling == "worse" for o in found.others), STUDIES)
    with capsys.disabled():
        print(f"\ncenters, {len(numbers)} numbers, no difference: one is told in {wrong:.1f} % of {STUDIES}")
    assert wrong <= 5


def test_the_power_at_twice_the_noise(capsys: pytest.CaptureFixture[str]) -> None:
    seen = {seeds: share(EQUAL | {25: 2.0}, seeds, _confirms_25) for seeds in (3, 5, 8)}
    with capsys.disabled():
        print("\ncenters, one of 3 better by twice the noise: confirmed in", end=" ")
        print(", ".join(f"{found:.1f} % with {seeds} seeds" for seeds, found in seen.items()))
    assert seen[3] < seen[5] < seen[8]
    assert seen[8] >= 80


def _confirms_25(found: Comparison) -> bool:
    return (found.centers, found.ruling) == (25, "confirmed")


def test_intervals_hold_the_true_differences_all_together(capsys: pytest.CaptureFixture[str]) -> None:
    truth = {4: 0.0, 25: 1.0, 49: 1.5}

    def holds(found: Comparison) -> bool:
        best = truth[int(found.centers)]
        return all(other.low <= truth[int(other.centers)] - best <= other.high for other in found.others)

    inside = share(truth, 3, holds)
    with capsys.disabled():
        print(f"\ncenters, all true differences within their intervals: in {inside:.1f} %")
    assert inside >= 95


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
    found = compared(job, records)
    assert found
    assert (found.centers, found.ruling, found.seeds) == (4, "confirmed", 3)
    assert [(other.centers, other.ruling) for other in found.others] == [(25, "worse"), (49, "worse")]
    for number in (other.trial for other in found.others):
        assert {r.trial.seed for r in records if r.trial.repeats == number} == {1, 2, 3}
    search = {r.trial.number: r for r in records if r.trial.repeats is None}
    of_25 = [r for r in search.values() if r.trial.params["centers"] == 25]
    assert search[found.others[0].trial].value("mIoU") == max(r.value("mIoU") or 0 for r in of_25)


def test_the_report_and_the_export_say_which_number_is_best(job: JobSpec) -> None:
    records = searched(job, curve).records
    *_, head, second, third = report(job, records).splitlines()
    assert head.startswith("centers: 4 came out best (trial ")
    assert "confirmed. Others against it, over 3 seeds (mIoU, 95 % interval):" in head
    assert second.startswith("  25 (trial ")
    assert second.endswith(", worse")
    assert third.startswith("  49 (trial ")
    assert findings(job, records)["centers"]["others"][1]["ruling"] == "worse"


def test_of_a_loss_less_is_better(job: JobSpec) -> None:
    loss = job.model_copy(update={"objective": job.objective.model_copy(update={"direction": "minimize"})})
    found = compared(loss, searched(loss, lambda trial, iteration: -curve(trial, iteration)).records)
    assert found
    assert found.centers == 4
    assert all(0 < other.low < other.difference < other.high for other in found.others)


def test_a_number_whose_trial_fails_with_another_seed_is_left_out(job: JobSpec) -> None:
    def trained(number: int, centers: int, value: float, seed: int = 0, repeats: int | None = None) -> Record:
        params = {"lr": 1e-4, "weight_decay": 1e-4, "centers": centers}
        measured = (Measurement(480, {"mIoU": value}, 1.0),)
        return Record(Trial(number, params, seed, repeats), Outcome.COMPLETED, measured)

    search = [trained(0, 4, 30.0), trained(1, 25, 31.0), trained(2, 49, 32.0)]
    failed = Record(Trial(5, search[2].trial.params, 1, 2), Outcome.DIVERGED)
    first = [trained(3, 4, 30.0, 1, 0), trained(4, 25, 31.0, 1, 1), failed]
    assert due(job, [*search, *first]) == [(0, 2), (1, 2)]
    second = [trained(6, 4, 30.1, 2, 0), trained(7, 25, 31.1, 2, 1)]
    found = compared(job, [*search, *first, *second])
    assert found
    assert (found.centers, [other.centers for other in found.others]) == (25, [4])
