"""Who draws the parameters: Optuna's samplers, by name."""

import zlib
from collections.abc import Iterable
from math import prod

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from tuner.job import JobSpec
from tuner.search.cube import value_at
from tuner.search.prior import PriorSampler
from tuner.space import ChoiceParameter, FloatParameter, Parameter, Space
from tuner.trial import Value

LATEST, BEST = 300, 50


def sampler(job: JobSpec, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """A sampler for one trial: what it draws follows from the seed, the trial's number and the study."""
    own_seed = zlib.crc32(f"{seed}/{number}".encode())
    match job.search.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=own_seed)
        case "prior":
            return PriorSampler(job, own_seed)
        case "gp":
            return optuna.samplers.GPSampler(seed=own_seed)
        case "grid":
            return optuna.samplers.GridSampler(_grid(job), seed=seed % 2**32)  # one order for all trials
        case "random":
            return optuna.samplers.RandomSampler(seed=own_seed)


def seen(trials: list[FrozenTrial], best: Iterable[int]) -> list[FrozenTrial]:
    """What a sampler looks at: the default, the best and the latest, so that late draws take no longer."""
    first_latest = max(0, len(trials) - LATEST)
    early = sorted({0, *best}) if first_latest else []
    return [trials[number] for number in early if number < first_latest] + trials[first_latest:]


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
