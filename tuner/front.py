"""With a cost beside the objective: the trials that no other beats in both."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import TypeAlias

from tuner.job import JobSpec
from tuner.objective import Objective
from tuner.trial import Outcome, Record

Point: TypeAlias = tuple[float, float]
"""Objective and cost, such that less is better of both."""


def front(job: JobSpec, records: Iterable[Record]) -> list[Record]:
    """Of the completed trials of the search, the best objective first; none in a job without a cost."""
    completed = [r for r in records if r.outcome is Outcome.COMPLETED]
    numbers = _unbeaten_at(job.objective, job.fidelity.iterations, completed)
    return [record for number in numbers for record in completed if record.trial.number == number]


def is_unbeaten(objective: Objective, number: int, iteration: int, records: Iterable[Record]) -> bool:
    """Whether no trial of the search beats this one in both at a rung; never in a job without a cost."""
    return number in _unbeaten_at(objective, iteration, records)


def point(objective: Objective, value: float, cost: float) -> Point:
    return -value if objective.direction == "maximize" else value, cost


def unbeaten(points: Mapping[int, Point]) -> list[int]:
    """The numbers of those than which no other is better in one and as good in the other."""
    found: list[int] = []
    last = (-inf, inf)
    for number, here in sorted(points.items(), key=lambda each: (each[1], each[0])):
        if here == last or here[1] < last[1]:
            found.append(number)
            last = here
    return found


def _unbeaten_at(objective: Objective, iteration: int, records: Iterable[Record]) -> list[int]:
    if objective.cost is None:
        return []
    search = {record.trial.number: record for record in records if record.trial.repeats is None}
    points = {}
    for number, record in search.items():
        value, cost = record.value(objective.metric, iteration), record.value(objective.cost, iteration)
        if value is not None and cost is not None:
            points[number] = point(objective, value, cost)
    return unbeaten(points)
