"""Rules at rungs: the shares that go on."""

from collections.abc import Iterable

from tuner.search.scheduling import Asha
from tuner.study.protocols import Scheduler

RUNGS = (60, 160, 480)


def those_that_go_on(scheduler_for: Scheduler, numbers: Iterable[int], iteration: int) -> list[int]:
    """Of trials whose objective is their number, once all of them are there."""
    reached = list(numbers)
    for number in reached:
        scheduler_for.reached(number, iteration, float(number))
    return [number for number in reached if scheduler_for.should_continue(number, iteration)]


def test_asha_keeps_the_share_of_this_rung_in_the_next() -> None:
    assert those_that_go_on(Asha(RUNGS, "maximize"), range(8), 60) == [5, 6, 7]
    assert those_that_go_on(Asha(RUNGS, "minimize"), range(8), 60) == [0, 1, 2]
    assert those_that_go_on(Asha(RUNGS, "maximize"), [1], 60) == [1]


def test_trials_of_one_objective_all_go_on() -> None:
    scheduler_for = Asha(RUNGS, "maximize")
    for number in range(8):
        scheduler_for.reached(number, 60, 1.0)
    assert all(scheduler_for.should_continue(number, 60) for number in range(8))
