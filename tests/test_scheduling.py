"""Rules at rungs: the shares that go on."""

from collections.abc import Iterable

from tuner.search.scheduling import Asha, Hyperband, Median
from tuner.study import Rule

RUNGS = (60, 160, 480)


def those_that_go_on(rule: Rule, numbers: Iterable[int], iteration: int) -> list[int]:
    """Of trials whose objective is their number, once all of them are there."""
    reached = list(numbers)
    for number in reached:
        rule.reached(number, iteration, float(number))
    return [number for number in reached if rule.goes_on(number, iteration)]


def test_asha_keeps_the_share_of_this_rung_in_the_next() -> None:
    assert those_that_go_on(Asha(RUNGS, "maximize"), range(8), 60) == [5, 6, 7]
    assert those_that_go_on(Asha(RUNGS, "minimize"), range(8), 60) == [0, 1, 2]
    assert those_that_go_on(Asha(RUNGS, "maximize"), [1], 60) == [1]


def test_trials_of_one_objective_all_go_on() -> None:
    rule = Asha(RUNGS, "maximize")
    for number in range(8):
        rule.reached(number, 60, 1.0)
    assert all(rule.goes_on(number, 60) for number in range(8))


def test_the_median_rule_stops_the_lower_half_when_there_are_enough() -> None:
    assert those_that_go_on(Median("maximize"), range(8), 60) == [4, 5, 6, 7]
    assert those_that_go_on(Median("maximize"), range(2), 60) == [0, 1]


def test_a_hyperband_spares_some_trials_at_the_first_rungs_and_not_at_the_last() -> None:
    rule = Hyperband(RUNGS, "maximize")
    first = those_that_go_on(rule, range(60), 60)
    second = those_that_go_on(rule, first, 160)
    assert 20 < len(first) < 60
    assert len(second) < len(first)
    assert min(first) < 10
