"""The verdict on simulated noise: how often it is wrong, and how often it sees what is there."""

from statistics import fmean

import pytest

from tests.power import Race, TrueDifference, at_fixed_seeds, percent, races
from tuner.study.verdict import HOPELESS, SURE, Values, noise, remaining, verdict

STUDIES = 1000


def confirmed(found: list[Race]) -> float:
    return percent(each.verdict.ruling == "confirmed" for each in found)


def test_at_most_one_in_twenty_of_a_thousand_studies_is_confirmed_without_a_difference() -> None:
    assert confirmed(races(lambda _: 0.0, STUDIES)) <= 5


def test_four_in_five_are_confirmed_at_twice_the_noise_for_less_than_fixed_seeds_take() -> None:
    found = races(lambda _: 2.0, STUDIES)
    assert confirmed(found) >= 80
    needed = next(
        seeds for seeds in range(2, 9) if confirmed(at_fixed_seeds(lambda _: 2.0, 500, seeds)) >= 80
    )
    fixed = at_fixed_seeds(lambda _: 2.0, 1, needed)[0].trainings
    assert fmean(each.trainings for each in found) <= 0.6 * fixed


def test_a_look_confirms_only_at_a_smaller_error_than_the_only_look() -> None:
    default, candidate = {0: 30.0, 1: 30.4, 2: 29.7}, {5: {1: 31.0, 2: 31.6}}
    first_of_four, only = verdict(default, candidate, 5), verdict(default, candidate)
    assert first_of_four
    assert only
    assert first_of_four.probability == pytest.approx(only.probability, abs=5e-3)
    assert first_of_four.sure > only.sure == pytest.approx(SURE, abs=1e-3)


def test_a_verdict_stands_when_it_is_confirmed_or_hopeless() -> None:
    default = {0: 30.0, 1: 30.2, 2: 29.9}
    better = verdict(default, {5: {1: 35.0, 2: 35.1}}, 5)
    unclear = verdict(default, {5: {1: 30.3, 2: 30.4}}, 5)
    no_better = verdict(default, {5: {1: 29.9, 2: 30.0}}, 5)
    assert [each and each.stands for each in (better, unclear, no_better)] == [True, False, True]
    assert no_better
    assert no_better.probability < HOPELESS


@pytest.mark.parametrize("truth", [lambda _: 0.0, lambda number: 2 - number / 6], ids=["none", "a ramp"])
def test_the_interval_holds_the_true_difference(truth: TrueDifference) -> None:
    found = races(truth, STUDIES)
    assert percent(each.verdict.low <= each.truth <= each.verdict.high for each in found) >= 95


def test_worse_is_told_as_well() -> None:
    default = {0: 30.0, 1: 30.2, 2: 29.9, 3: 30.1}
    found = verdict(default, {5: {1: 25.1, 2: 25.0, 3: 24.9}})
    assert found
    assert (found.ruling, found.candidate) == ("worse", 5)


def test_the_default_counts_with_its_search_value_too() -> None:
    found = verdict({0: 13.0, 1: 10.0, 2: 11.0, 3: 10.0}, {5: {1: 20.0, 2: 21.0, 3: 22.0}})
    assert found
    assert (found.difference, found.seeds) == (10.0, 3)


def test_without_two_seeds_there_is_no_verdict() -> None:
    assert verdict({0: 1.0, 1: 2.0}, {}) is None
    assert verdict({0: 1.0}, {5: {1: 3.0, 2: 4.0}}) is None
    assert verdict({0: 1.0, 1: 2.0}, {5: {1: 3.0}}) is None


def test_noise_is_pooled_over_trials_that_were_repeated() -> None:
    values: list[Values] = [{0: 1.0, 1: 3.0}, {1: 10.0, 2: 12.0, 3: 14.0}, {0: 7.0}]
    assert noise(values) == (pytest.approx((10 / 3) ** 0.5), 3)


def test_the_worse_half_leaves_the_race() -> None:
    assert remaining({1: {1: 30.0}, 2: {1: 3.0}, 3: {1: 31.0}, 4: {1: 5.0}}) == [3, 1]
    assert remaining({1: {1: 30.0, 2: 30.4}, 2: {1: 29.8, 2: 31.1}, 3: {1: 25.0, 2: 25.2}}) == [2, 1]
    assert remaining({7: {1: 30.0}}) == [7]
