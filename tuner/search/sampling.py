"""Who draws the parameters: Optuna's samplers, by name."""

import zlib
from collections.abc import Iterator

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.job import Search
from tuner.space import ChoiceParameter, FloatParameter, Parameter, Space
from tuner.trial import Value


def sampler(search: Search, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """A sampler for one trial: what it draws follows from the seed, the trial's number and the study."""
    own_seed = zlib.crc32(f"{seed}/{number}".encode())
    match search.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=own_seed)
        case "random":
            return optuna.samplers.RandomSampler(seed=own_seed)


def drawn_at_random(space: Space, seed: int) -> Iterator[dict[str, Value]]:
    """Params without end, uniform over the space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    while True:
        yield dict(study.ask(distributions(space)).params)


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
