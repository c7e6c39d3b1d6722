"""Compares the default and the best: their trainings over seeds, their configs, their classes."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev, variance
from typing import Any

from scipy.stats import t

from tuner.spec.trial import Outcome, Record
from tuner.study.replication import best
from tuner.tracking.report.sources import Sources
from tuner.tracking.report.spending import hours

CLASS = "IoU."


@dataclass(frozen=True)
class Arm:
    """Holds one of the two trials that are compared."""

    number: int
    trainings: tuple[Record, ...]
    """Those that count: the replicates, of the default its search training too; as long as there are no
    replicates, the search training alone."""
    values: tuple[float, ...]
    """The objective of each."""
    hours: float
    """The cost of one training, on average."""

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Returns the standard deviation between seeds."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Change:
    """Holds a line of the best config that differs from the default's."""

    path: str
    default: str
    best: str


@dataclass(frozen=True)
class ClassGain:
    """Says what the best gains in one class."""

    name: str
    default: float
    """Percent, the mean over seeds; so is the gain."""
    gain: float
    half: float | None
    """Half of the gain's 95 % interval (Student's, equal variances); None without two trainings of each."""


def arm(sources: Sources, record: Record | None) -> Arm | None:
    """Returns what is known of a trial that completed in the search."""
    if record is None:
        return None
    number = record.trial.number
    again = [
        each
        for each in sources.records
        if each.trial.replicate_of == number and each.outcome is Outcome.COMPLETED
    ]
    trainings = again if again and number != 0 else [record, *again]
    values = [each.value(sources.job.objective.metric) or 0.0 for each in trainings]
    spent = fmean(hours(sources.job, each) for each in trainings)
    return Arm(number, tuple(trainings), tuple(values), spent)


def is_default_best(sources: Sources) -> bool:
    first = best(sources.history)
    return first is not None and first.trial.number == 0


def changes(sources: Sources) -> list[Change]:
    """Lists all paths at which the two configs differ; of their parameters alone where a config is not at hand."""
    if sources.default is None or sources.rival is None:
        return []
    before, after = (_settings(sources, record) for record in (sources.default, sources.rival))
    if before is None or after is None:
        overrides = sources.job.space.overrides
        before, after = overrides(sources.default.trial.params), overrides(sources.rival.trial.params)
    paths = dict.fromkeys([*before, *after])
    return [
        Change(path, _shown(before, path), _shown(after, path))
        for path in paths
        if before.get(path, ...) != after.get(path, ...)
    ]


def class_gains(default: Arm, rival: Arm) -> list[ClassGain]:
    """Lists the gains in every class that both were measured on, the greatest first."""
    names = [name for name in _metrics(default.trainings[0]) if name.startswith(CLASS)]
    found = (_class_gain(name, default.trainings, rival.trainings) for name in names)
    return sorted((each for each in found if each), key=lambda each: -each.gain)


def _metrics(record: Record) -> Mapping[str, float]:
    return record.last.metrics if record.last else {}


def _class_gain(name: str, before: Sequence[Record], after: Sequence[Record]) -> ClassGain | None:
    first = [value for record in before if (value := record.value(name)) is not None]
    second = [value for record in after if (value := record.value(name)) is not None]
    if not first or not second:
        return None
    gain = fmean(second) - fmean(first)
    return ClassGain(name.removeprefix(CLASS), fmean(first), gain, _half(first, second))


def _half(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(first) < 2 or len(second) < 2:
        return None
    freedom = len(first) + len(second) - 2
    squares = variance(first) * (len(first) - 1) + variance(second) * (len(second) - 1)
    error = sqrt(squares / freedom * (1 / len(first) + 1 / len(second)))
    return float(t.ppf(0.975, freedom)) * error


def _settings(sources: Sources, record: Record) -> dict[str, Any] | None:
    """Returns the config of a trial by dotted path; None where it is not at hand or no plain values."""
    try:
        text = sources.folder(record.trial.number).config_text()
        assignments = ast.parse(text or "").body
        values = {
            target.id: ast.literal_eval(each.value)
            for each in assignments
            if isinstance(each, ast.Assign)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
    except (SyntaxError, ValueError):
        return None
    return dict(_leaves(values, "")) if values else None


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple) and node and any(isinstance(each, dict) for each in node):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{path}.{index}" if path else str(index))
    else:
        yield path, node


def _shown(settings: Mapping[str, Any], path: str) -> str:
    if path not in settings:
        return "–"
    value = settings[path]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
