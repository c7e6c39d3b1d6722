"""Finds the Pareto-optimal trials: those that no other trial beats in both the objective and the cost."""

from collections.abc import Mapping
from math import inf
from typing import TypeAlias

from tuner.spec.objective import Objective
from tuner.spec.trial import Outcome, Record
from tuner.study.history import History

Point: TypeAlias = tuple[float, float]
"""Objective and cost, such that less is better of both."""


def pareto_front(history: History) -> list[Record]:
    """Lists the Pareto-optimal trials that completed, the best objective first; none in a job without a cost."""
    numbers = _optimal_at(history, history.job.fidelity.iterations, only_completed=True)
    by_number = {record.trial.number: record for record in history.search}
    return [by_number[number] for number in numbers]


def is_pareto_optimal(history: History, number: int, iteration: int) -> bool:
    """Tells whether no trial of the search beats this one in both at a rung; never in a job without a cost."""
    return number in _optimal_at(history, iteration)


def point(objective: Objective, value: float, cost: float) -> Point:
    return -value if objective.direction == "maximize" else value, cost


def pareto_optimal(points: Mapping[int, Point]) -> list[int]:
    """Lists the numbers of the points that no other beats in one coordinate without losing in the other."""
    found: list[int] = []
    last = (-inf, inf)
    for number, here in sorted(points.items(), key=lambda each: (each[1], each[0])):
        if here == last or here[1] < last[1]:
            found.append(number)
            last = here
    return found


def _optimal_at(history: History, iteration: int, *, only_completed: bool = False) -> list[int]:
    objective = history.job.objective
    if objective.cost is None:
        return []
    points = {}
    for record in history.search:
        value, cost = record.value(objective.metric, iteration), record.value(objective.cost, iteration)
        counts = not only_completed or record.outcome is Outcome.COMPLETED
        if counts and value is not None and cost is not None:
            points[record.trial.number] = point(objective, value, cost)
    return pareto_optimal(points)
