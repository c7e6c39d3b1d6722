"""Finds the trials that their node slowed."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import TypeAlias

from tuner.spec.trial import Record, Value

STRAGGLER = 0.67
"""The share of the usual pace below which a trial is a straggler."""
ENOUGH_TO_COMPARE = 4
"""Trials of equal settings."""

Cost: TypeAlias = tuple[frozenset[tuple[str, Value]], float | None]


def stragglers(records: Iterable[Record]) -> set[int]:
    """Returns the numbers of the trials far below the usual pace of trials of equal settings.

    Settings that are real numbers, such as a learning rate, cost no time: they may differ.
    """
    paces: dict[Cost, dict[int, float]] = {}
    for record in records:
        if pace := _pace(record):
            paces.setdefault(_cost(record), {})[record.trial.number] = pace
    return {number for equals in paces.values() for number in _below(equals)}


def _pace(record: Record) -> float | None:
    """Returns images a second, the median of its measurements, so that a moment does not count."""
    known = [measurement.system_metrics.get("images_per_second") for measurement in record.measurements]
    return median([pace for pace in known if pace] or [0.0]) or None


def _cost(record: Record) -> Cost:
    params = {(name, value) for name, value in record.trial.params.items() if not isinstance(value, float)}
    return frozenset(params), record.last.system_metrics.get("images_at_once") if record.last else None


def _below(equals: Mapping[int, float]) -> list[int]:
    if len(equals) < ENOUGH_TO_COMPARE:
        return []
    usual = median(equals.values())
    return [number for number, pace in equals.items() if pace < STRAGGLER * usual]
