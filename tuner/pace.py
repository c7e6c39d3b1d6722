"""Which trials their node slowed."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import TypeAlias

from tuner.trial import Record, Value

SLOWED = 0.67
"""Of the usual pace: what lies below is marked."""
ENOUGH_TO_COMPARE = 4
"""Trials of equal settings."""

Cost: TypeAlias = tuple[frozenset[tuple[str, Value]], float | None]


def slowed(records: Iterable[Record]) -> set[int]:
    """The numbers of the trials far below the usual pace of trials of equal settings.

    Settings that are real numbers, such as a learning rate, cost no time: they may differ.
    """
    paces: dict[Cost, dict[int, float]] = {}
    for record in records:
        if pace := _pace(record):
            paces.setdefault(_cost(record), {})[record.trial.number] = pace
    return {number for equals in paces.values() for number in _below(equals)}


def _pace(record: Record) -> float | None:
    """Pictures a second: the median of its measurements, so that a moment does not count."""
    known = [measurement.conditions.get("pictures_per_second") for measurement in record.measurements]
    return median([pace for pace in known if pace] or [0.0]) or None


def _cost(record: Record) -> Cost:
    params = {(name, value) for name, value in record.trial.params.items() if not isinstance(value, float)}
    return frozenset(params), record.last.conditions.get("pictures_at_once") if record.last else None


def _below(equals: Mapping[int, float]) -> list[int]:
    if len(equals) < ENOUGH_TO_COMPARE:
        return []
    usual = median(equals.values())
    return [number for number, pace in equals.items() if pace < SLOWED * usual]
