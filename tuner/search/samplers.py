"""Chooses the sampler that a job names, among Optuna's and the tuner's."""

import logging
import zlib
from collections.abc import Iterable, Sequence
from copy import copy
from heapq import nsmallest
from math import prod
from typing import TypeVar

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tuner.search.nsga import COST, Nsga2Sampler
from tuner.search.unit_cube import from_unit
from tuner.spec.job import JobSpec
from tuner.spec.objective import Objective
from tuner.spec.space import ChoiceParameter, FloatParameter, Parameter, Space
from tuner.spec.trial import Value
from tuner.study.pareto import Point, pareto_optimal, point

LATEST, BEST = 300, 50
BY_CHANCE = 4
"""Trials after the default that no model draws, unless earlier studies tell of the space. Optuna's ten cost
more GPU-hours: tests/benchmarks/bench_simulation.py."""

T = TypeVar("T")

logging.getLogger(optuna.samplers.__name__).setLevel(logging.ERROR)
"""Samplers warn of each parameter with a condition, by a trial's number in the throw-away study."""


def sampler(job: JobSpec, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Returns a sampler for one trial: what it draws follows from the seed, the trial's number and the study."""
    own_seed = zlib.crc32(f"{seed}/{number}".encode())
    has_model = number > BY_CHANCE or bool(job.search.warm_start_from)
    match job.search.sampler:
        case "tpe" if has_model:
            return optuna.samplers.TPESampler(seed=own_seed, n_startup_trials=0)
        case "gp" if has_model:
            return optuna.samplers.GPSampler(seed=own_seed, n_startup_trials=1)
        case "nsga2":
            return Nsga2Sampler(own_seed)
        case "grid":
            return _Grid(_grid(job), seed % 2**32, number if seed == job.seed else None)
    return optuna.samplers.RandomSampler(seed=own_seed)


class _Grid(optuna.samplers.GridSampler):
    """Draws the point of a trial's number, one order of points for all trials; without a number, any left."""

    def __init__(self, grid: dict[str, list[Value]], seed: int, number: int | None) -> None:
        super().__init__(grid, seed=seed)
        self._number = prod(map(len, grid.values())) if number is None else number

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        numbered = copy(trial)
        numbered.number = self._number
        super().before_trial(study, numbered)


class Best:
    """Keeps the completed trials that a sampler sees however old they are: the best few, or the Pareto front."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._points: dict[int, Point] = {}

    def add(self, trial: FrozenTrial) -> None:
        if trial.state is TrialState.COMPLETE:
            cost = trial.user_attrs.get(COST, 0.0)
            self._points[trial.number] = point(self._objective, trial.values[0], cost)
            if len(self._points) > 2 * BEST and not self._objective.cost:
                self._points = {number: self._points[number] for number in self.numbers}

    @property
    def numbers(self) -> list[int]:
        if self._objective.cost:
            return evenly(pareto_optimal(self._points), BEST)
        return nsmallest(BEST, self._points, key=lambda number: (self._points[number], number))


def seen(trials: list[FrozenTrial], best: Iterable[int]) -> list[FrozenTrial]:
    """Returns what a sampler looks at: the default, the best and the latest, so that late draws take no longer."""
    first_latest = max(0, len(trials) - LATEST)
    early = sorted({0, *best}) if first_latest else []
    return [trials[number] for number in early if number < first_latest] + trials[first_latest:]


def evenly(ranked: Sequence[T], most: int) -> list[T]:
    """Returns at most this many, evenly spaced, the first among them."""
    count = max(0, min(len(ranked), most))
    return [ranked[index * len(ranked) // count] for index in range(count)]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(parameter) for name, parameter in space.parameters.items()}


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case ChoiceParameter():
            return CategoricalDistribution(parameter.choices)
        case FloatParameter():
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
        case _:
            return IntDistribution(parameter.low, parameter.high, log=parameter.log)


def _grid(job: JobSpec) -> dict[str, list[Value]]:
    """Returns all choices, and of every range as many values, evenly spaced, as make about the job's trials."""
    ranges = [p for p in job.space.parameters.values() if not isinstance(p, ChoiceParameter)]
    choices = prod(len(p.choices) for p in job.space.parameters.values() if isinstance(p, ChoiceParameter))
    levels = max(2, round((job.budget.trials / choices) ** (1 / len(ranges)))) if ranges else 0
    return {
        name: list(parameter.choices)
        if isinstance(parameter, ChoiceParameter)
        else list(dict.fromkeys(from_unit(parameter, level / (levels - 1)) for level in range(levels)))
        for name, parameter in job.space.parameters.items()
    }
