"""The verdict on simulated noise: how often it is wrong, and how often it sees what is there."""

import random
from collections.abc import Callable

import pytest

from tuner.verdict import Values, Verdict, noise, racing, verdict

STUDIES = 2_000
TRIALS, FINALISTS, SEEDS = 24, 4, 3
Truth = Callable[[int], float]
"""A trial's true difference to the default, in standard deviations between seeds."""


def simulated(truth: Truth, chance: random.Random) -> tuple[Verdict, float]:
    """A search of single trainings, then the race of its best few; the verdict and what is true."""
    trials = range(1, TRIALS)
    found = {number: truth(number) + chance.gauss(0, 1) for number in trials}
    finalists = sorted(trials, key=lambda number: -found[number])[:FINALISTS]
    default: dict[int, float] = {0: chance.gauss(0, 1)}
    values: dict[int, dict[int, float]] = {number: {} for number in finalists}
    still = finalists
    for seed in range(1, SEEDS + 1):
        default[seed] = chance.gauss(0, 1)
        for number in still:
            values[number][seed] = truth(number) + chance.gauss(0, 1)
        still = racing(default, {number: values[number] for number in still})
    found_out = verdict(default, values)
    assert found_out
    return found_out, truth(found_out.candidate)


def simulations(truth: Truth) -> list[tuple[Verdict, float]]:
    chance = random.Random(1)
    return [simulated(truth, chance) for _ in range(STUDIES)]


def confirmed(truth: Truth) -> float:
    share = sum(each.ruling == "confirmed" for each, _ in simulations(truth)) / STUDIES
    return 100 * share


def test_at_most_one_in_twenty_is_confirmed_without_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    share = confirmed(lambda _: 0.0)
    with capsys.disabled():
        print(f"\nverdict, no true difference: confirmed in {share:.1f} % of {STUDIES} studies")
    assert share <= 5


def test_four_in_five_are_confirmed_at_twice_the_noise(capsys: pytest.CaptureFixture[str]) -> None:
    share = confirmed(lambda _: 2.0)
    one_in_three = confirmed(lambda number: 2.0 if number % 3 == 0 else 0.0)
    with capsys.disabled():
        print(f"\nverdict, the candidates better by twice the noise: confirmed in {share:.1f} %")
        print(f"verdict, a third of all trials better by twice the noise: confirmed in {one_in_three:.1f} %")
    assert share >= 80


def test_the_interval_holds_the_true_difference(capsys: pytest.CaptureFixture[str]) -> None:
    for name, truth in {"none": lambda _: 0.0, "a ramp": lambda number: 2 - number / 6}.items():
        inside = sum(each.low <= true <= each.high for each, true in simulations(truth)) / STUDIES
        with capsys.disabled():
            print(f"\nverdict, true difference {name}: within the interval in {100 * inside:.1f} %")
        assert inside >= 0.94


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


def test_who_cannot_win_any_more_leaves_the_race() -> None:
    assert racing({0: 20.0}, {1: {1: 30.0}, 2: {1: 3.0}}) == [1, 2]
    default = {0: 20.0, 1: 20.1, 2: 20.2}
    behind = {1: {1: 30.0, 2: 30.4}, 2: {1: 29.8, 2: 30.1}, 3: {1: 25.0, 2: 25.2}}
    assert racing(default, behind) == [1, 2]
    assert racing({0: 20.0, 1: 20.1}, {1: {1: 30.0}, 2: {1: 3.0}}) == [1, 2]
