"""Predicts the learning curve of any params and seed from recorded curves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import sqrt
from random import Random
from typing import TypeAlias

import numpy as np

from tuner.errors import BadInput
from tuner.search.unit_cube import to_unit
from tuner.spec.job import JobSpec
from tuner.spec.space import ChoiceParameter, Params, Space
from tuner.spec.trial import Measurement, Outcome, Record, Trial, Value

Array: TypeAlias = np.ndarray

WIDTHS = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
APART = 0.2
"""The distance between two choices in the unit cube."""
LOOKED_AT = 4096


class Surrogate:
    """Averages the curves of near params, and adds the noise of a seed.

    Nearest neighbours in the unit cube of the space, weighted by a Gaussian of the width that predicts each
    recorded drawing best from all others. A seed's noise is one for all params, as they see the same samples:
    of each recorded seed, what its trainings differed from the mean over seeds, times a normal variable that
    follows from the trial's seed. Drawings with fewer seeds than others tell nothing of the noise. Trainings
    that failed are left out: nothing fails in a simulation.
    """

    def __init__(self, job: JobSpec, records: Iterable[Record]) -> None:
        """Raises BadInput when there are no two drawings with the job's parameters, rungs and metric."""
        self._job, records = job, list(records)
        by_point = _tables(job, records)
        self._points = np.array(list(by_point))
        self._curves = np.array([np.mean(table, axis=0) for table in by_point.values()])
        seeds = max(map(len, by_point.values()))
        repeated = {point: table for point, table in by_point.items() if len(table) == seeds}
        self._repeated = np.array(list(repeated))
        self._noise = _noise(np.array(list(repeated.values()))[:, :, 0])
        """The noise of each drawing with the most seeds, by seed and rung."""
        self._signals = _signals(job, records, by_point)
        self._evaluation = _evaluation_seconds(
            job.fidelity.evaluation_points, self._curves[:, 1].mean(axis=0)
        )
        self._width = min(WIDTHS, key=self._left_out)

    @property
    def error(self) -> float:
        """Returns the root mean square error of the final objective, each drawing predicted from the others alone."""
        return self._left_out(self._width)

    @property
    def noise(self) -> float:
        """Returns the standard deviation of the objective at the end, between seeds."""
        return float(np.sqrt(np.square(self._noise[:, :, -1]).sum(axis=1).mean()))

    def training(self, trial: Trial, evaluation_points: Sequence[int] = ()) -> Sequence[Measurement]:
        """Returns what a training measures that is evaluated there alone, at first at every recorded rung.

        Evaluations that it does without cost no time.
        """
        recorded = self._job.fidelity.evaluation_points
        point = _point(self._job.space, trial.params)
        weights, noisy = self._weights(point), _weights(self._repeated, point, self._width)
        chance = Random(trial.seed)
        drawn = np.array([chance.gauss(0, 1) for _ in range(self._noise.shape[1])])
        values, seconds = np.tensordot(weights, self._curves, axes=1)
        metrics = {self._job.objective.metric: values + drawn @ np.tensordot(noisy, self._noise, axes=1)}
        for name, (means, noise) in self._signals.items():
            metrics[name] = weights @ means + drawn @ np.tensordot(noisy, noise, axes=1)
        stops = [stop for stop in recorded if stop in (evaluation_points or recorded)]
        measurements = []
        for made, stop in enumerate(stops):
            index = recorded.index(stop)
            own = {name: float(each[index]) for name, each in metrics.items()}
            saved = (index - made) * self._evaluation
            measurements.append(Measurement(stop, own, float(seconds[index]) - saved))
        return measurements

    def truth(self, params: Params) -> float:
        """Returns the objective at the end, without noise."""
        return float(self._weights(_point(self._job.space, params)) @ self._curves[:, 0, -1])

    @cached_property
    def best_known(self) -> float:
        """Returns the best at many places drawn at random, without noise."""
        found = [self._weights(point) @ self._curves[:, 0, -1] for point in _anywhere(self._job.space)]
        return float(max(found) if self._job.objective.direction == "maximize" else min(found))

    def _weights(self, point: Array) -> Array:
        return _weights(self._points, point, self._width)

    def _left_out(self, width: float) -> float:
        misses = []
        for index, (point, curve) in enumerate(zip(self._points, self._curves, strict=True)):
            others = np.arange(len(self._points)) != index
            weights = _weights(self._points[others], point, width)
            misses.append(weights @ self._curves[others, 0, -1] - curve[0, -1])
        return float(np.sqrt(np.mean(np.square(misses))))


def _evaluation_seconds(stops: Sequence[int], seconds: Array) -> float:
    """Returns what one evaluation takes: what is left of the time between rungs where they are no iterations apart."""
    if len(stops) < 3:
        return 0.0
    apart, took = np.diff([0, *stops]), np.diff([0.0, *seconds])
    _, left = np.polyfit(apart, took, 1)
    return float(np.clip(left, 0.0, took.min()))


def _weights(points: Array, point: Array, width: float) -> Array:
    squares = ((points - point) ** 2).sum(axis=1) / (2 * width**2)
    weights: Array = np.exp(squares.min() - squares)
    weights /= weights.sum()
    return weights


def _tables(job: JobSpec, records: Iterable[Record]) -> dict[tuple[float, ...], list[list[list[float]]]]:
    """Returns by point, for each training in the order of seeds, its values and seconds at every rung."""
    tables: dict[tuple[float, ...], list[list[list[float]]]] = {}
    for record in sorted(records, key=lambda record: record.trial.seed):
        if record.outcome is not Outcome.COMPLETED:
            continue
        seconds = {m.iteration: m.seconds for m in record.measurements}
        values = [record.value(job.objective.metric, stop) for stop in job.fidelity.evaluation_points]
        if record.trial.params.keys() != job.space.parameters.keys() or None in values:
            raise BadInput.of(
                "curves", f"line {record.trial.number + 1}: has other parameters, rungs or metric"
            )
        row = [
            [float(value or 0.0) for value in values],
            [seconds[stop] for stop in job.fidelity.evaluation_points],
        ]
        tables.setdefault(tuple(_point(job.space, record.trial.params)), []).append(row)
    if len(tables) < 2:
        raise BadInput.of("curves", f"{len(tables)} drawings are too few: record more with `tuner record`")
    return tables


def _noise(values: Array) -> Array:
    """Returns by how much the trainings of each drawing differ from their mean, [drawings, seeds, rungs]."""
    return (values - values.mean(axis=1)[:, None]) / sqrt(max(1, values.shape[1] - 1))  # type: ignore[no-any-return]


def _signals(
    job: JobSpec, records: Iterable[Record], trained: Mapping[tuple[float, ...], Sequence[object]]
) -> dict[str, tuple[Array, Array]]:
    """Returns the losses that all recorded trainings have at every rung: means by drawing, and the seeds' noise."""
    found: dict[str, tuple[Array, Array]] = {}
    stops, seeds = job.fidelity.evaluation_points, max(map(len, trained.values()))
    for name in ("loss", "val_loss"):
        tables: dict[tuple[float, ...], list[list[float]]] = {point: [] for point in trained}
        for record in sorted(records, key=lambda record: record.trial.seed):
            values = [record.value(name, stop) for stop in stops]
            if record.outcome is Outcome.COMPLETED and None not in values:
                tables[tuple(_point(job.space, record.trial.params))].append(
                    [float(v or 0.0) for v in values]
                )
        is_whole = all(len(tables[point]) == len(trainings) for point, trainings in trained.items())
        if name != job.objective.metric and is_whole:
            means = np.array([np.mean(table, axis=0) for table in tables.values()])
            found[name] = means, _noise(np.array([each for each in tables.values() if len(each) == seeds]))
    return found


def _point(space: Space, params: Params) -> Array:
    """Returns the point in the unit cube; all choices of a parameter have the same distance from each other."""
    coordinates: list[float] = []
    for name, parameter in space.parameters.items():
        if isinstance(parameter, ChoiceParameter):
            coordinates.extend(_choice(parameter, params[name]))
        else:
            coordinates.append(to_unit(parameter, params[name]))
    return np.array(coordinates)


def _choice(parameter: ChoiceParameter, chosen: Value) -> list[float]:
    return [APART / sqrt(2) * (chosen == choice) for choice in parameter.choices]


def _anywhere(space: Space) -> Iterator[Array]:
    chance = Random(0)
    for _ in range(LOOKED_AT):
        coordinates: list[float] = []
        for parameter in space.parameters.values():
            if isinstance(parameter, ChoiceParameter):
                coordinates.extend(_choice(parameter, chance.choice(parameter.choices)))
            else:
                coordinates.append(chance.random())
        yield np.array(coordinates)
