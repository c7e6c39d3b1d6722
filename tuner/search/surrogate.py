"""Learning curves for any params and seed, from those that were recorded."""

from collections.abc import Iterable, Iterator, Sequence
from math import sqrt
from random import Random
from typing import TypeAlias

import numpy as np

from tuner.errors import BadInput
from tuner.job import JobSpec
from tuner.search.cube import place
from tuner.space import ChoiceParameter, Params, Space
from tuner.trial import Measurement, Outcome, Record, Trial, Value

Array: TypeAlias = np.ndarray

WIDTHS = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
APART = 0.2
"""How far two choices are from each other in the unit cube."""
LOOKED_AT = 4096


class Surrogate:
    """The curves of near params, averaged, with the noise of a seed.

    Nearest neighbours in the unit cube of the space, weighted by a Gaussian of the width that predicts each
    recorded drawing best from all others. A seed's noise is one for all params, as they see the same samples:
    of each recorded seed, what its trainings differed from the mean over seeds, times a normal variable that
    follows from the trial's seed. Trainings that failed, and drawings with fewer seeds than others, are left
    out: nothing fails in a simulation.
    """

    def __init__(self, job: JobSpec, records: Iterable[Record]) -> None:
        """Raises BadInput when there are no two drawings with the job's parameters, rungs and metric."""
        self._job = job
        by_point = _tables(job, records)
        self._points = np.array(list(by_point))
        tables = np.array(list(by_point.values()))
        self._curves = tables.mean(axis=1)
        seeds = tables.shape[1]
        self._noise = (tables - self._curves[:, None])[:, :, 0] / sqrt(max(1, seeds - 1))
        """Of each drawing, by seed and rung."""
        self._width = min(WIDTHS, key=self._left_out)

    @property
    def error(self) -> float:
        """Of the objective at the end, root mean square, each drawing predicted from the others alone."""
        return self._left_out(self._width)

    @property
    def noise(self) -> float:
        """The standard deviation of the objective at the end, between seeds."""
        return float(np.sqrt(np.square(self._noise[:, :, -1]).sum(axis=1).mean()))

    def training(self, trial: Trial) -> Sequence[Measurement]:
        point, chance = _point(self._job.space, trial.params), Random(trial.seed)
        values, seconds = self._mean(point)
        by_seed = np.tensordot(_weights(self._points, point, self._width), self._noise, axes=1)
        noisy = values + np.array([chance.gauss(0, 1) for _ in by_seed]) @ by_seed
        metric, stops = self._job.objective.metric, self._job.fidelity.stops
        found = zip(stops, noisy.tolist(), seconds.tolist(), strict=True)
        return [Measurement(stop, {metric: value}, second) for stop, value, second in found]

    def truth(self, params: Params) -> float:
        """The objective at the end, without noise."""
        return float(self._mean(_point(self._job.space, params))[0][-1])

    def best_known(self) -> float:
        """The best at many places drawn at random, without noise."""
        found = [self._mean(point)[0][-1] for point in _anywhere(self._job.space)]
        return float(max(found) if self._job.objective.direction == "maximize" else min(found))

    def _mean(self, point: Array) -> tuple[Array, Array]:
        values, seconds = np.tensordot(_weights(self._points, point, self._width), self._curves, axes=1)
        return values, seconds

    def _left_out(self, width: float) -> float:
        misses = []
        for index, (point, curve) in enumerate(zip(self._points, self._curves, strict=True)):
            others = np.arange(len(self._points)) != index
            weights = _weights(self._points[others], point, width)
            misses.append(weights @ self._curves[others, 0, -1] - curve[0, -1])
        return float(np.sqrt(np.mean(np.square(misses))))


def _weights(points: Array, point: Array, width: float) -> Array:
    squares = ((points - point) ** 2).sum(axis=1) / (2 * width**2)
    weights: Array = np.exp(squares.min() - squares)
    weights /= weights.sum()
    return weights


def _tables(job: JobSpec, records: Iterable[Record]) -> dict[tuple[float, ...], list[list[list[float]]]]:
    """By point: for each training, in the order of seeds, values and seconds at every rung."""
    tables: dict[tuple[float, ...], list[list[list[float]]]] = {}
    for record in sorted(records, key=lambda record: record.trial.seed):
        if record.outcome is not Outcome.COMPLETED:
            continue
        seconds = {m.iteration: m.seconds for m in record.measurements}
        values = [record.value(job.objective.metric, stop) for stop in job.fidelity.stops]
        if record.trial.params.keys() != job.space.parameters.keys() or None in values:
            raise BadInput.of(
                "curves", f"line {record.trial.number + 1}: has other parameters, rungs or metric"
            )
        row = [[float(value or 0.0) for value in values], [seconds[stop] for stop in job.fidelity.stops]]
        tables.setdefault(tuple(_point(job.space, record.trial.params)), []).append(row)
    if len(tables) < 2:
        raise BadInput.of("curves", f"{len(tables)} drawings are too few: record more with `tuner record`")
    seeds = max(map(len, tables.values()))
    return {point: table for point, table in tables.items() if len(table) == seeds}


def _point(space: Space, params: Params) -> Array:
    """In the unit cube; the choices of a parameter lie apart from each other by the same distance."""
    coordinates: list[float] = []
    for name, parameter in space.parameters.items():
        if isinstance(parameter, ChoiceParameter):
            coordinates.extend(_choice(parameter, params[name]))
        else:
            coordinates.append(place(parameter, params[name]))
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
