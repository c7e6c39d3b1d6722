"""Who draws the parameters: Optuna's samplers, by name."""

import zlib
from collections.abc import Iterable, Sequence
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

from tuner.front import Point, point, unbeaten
from tuner.job import JobSpec
from tuner.objective import Objective
from tuner.search.cube import value_at
from tuner.search.nsga import COST, Nsga2Sampler
from tuner.search.prior import PriorSampler
from tuner.space import ChoiceParameter, FloatParameter, Parameter, Space
from tuner.trial import Value

LATEST, BEST = 300, 50
BY_CHANCE = 4
"""Trials after the default that no model draws, unless earlier studies tell of the space. Optuna's ten cost
more GPU-hours: tests/benchmarks/bench_simulation.py."""

T = TypeVar("T")


def sampler(job: JobSpec, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """A sampler for one trial: what it draws follows from the seed, the trial's number and the study."""
    own_seed = zlib.crc32(f"{seed}/{number}".encode())
    has_model = number > BY_CHANCE or bool(job.search.earlier)
    match job.search.sampler:
        case "tpe" if has_model:
            return optuna.samplers.TPESampler(seed=own_seed, n_startup_trials=0)
        case "gp" if has_model:
            return optuna.samplers.GPSampler(seed=own_seed, n_startup_trials=1)
        case "prior":
            return PriorSampler(job, own_seed)
        case "nsga2":
            return Nsga2Sampler(own_seed)
        case "grid":
            return optuna.samplers.GridSampler(_grid(job), seed=seed % 2**32)  # one order for all trials
    return optuna.samplers.RandomSampler(seed=own_seed)


class Best:
    """The completed trials that a sampler looks at however old they are: the best few, or the front."""

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
            return evenly(unbeaten(self._points), BEST)
        return nsmallest(BEST, self._points, key=lambda number: (self._points[number], number))


def seen(trials: list[FrozenTrial], best: Iterable[int]) -> list[FrozenTrial]:
    """What a sampler looks at: the default, the best and the latest, so that late draws take no longer."""
    first_latest = max(0, len(trials) - LATEST)
    early = sorted({0, *best}) if first_latest else []
    return [trials[number] for number in early if number < first_latest] + trials[first_latest:]


def evenly(ranked: Sequence[T], most: int) -> list[T]:
    """At most so many, the first among them."""
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
    """All choices, and of every range as many values, evenly spaced, as make about the job's trials."""
    ranges = [p for p in job.space.parameters.values() if not isinstance(p, ChoiceParameter)]
    choices = prod(len(p.choices) for p in job.space.parameters.values() if isinstance(p, ChoiceParameter))
    levels = max(2, round((job.budget.trials / choices) ** (1 / len(ranges)))) if ranges else 0
    return {
        name: list(parameter.choices)
        if isinstance(parameter, ChoiceParameter)
        else list(dict.fromkeys(value_at(parameter, level / (levels - 1)) for level in range(levels)))
        for name, parameter in job.space.parameters.items()
    }
