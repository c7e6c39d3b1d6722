"""The unit cube of a space: every range from 0 to 1, on its own scale."""

from math import exp, log
from random import Random

from tuner.space import ChoiceParameter, FloatParameter, IntParameter, Parameter
from tuner.trial import Value


def place(parameter: FloatParameter | IntParameter, value: Value) -> float:
    low, high, here = (float(x) for x in (parameter.low, parameter.high, value))
    if parameter.log:
        low, high, here = log(low), log(high), log(here)
    return (here - low) / (high - low) if high > low else 0.0


def value_at(parameter: FloatParameter | IntParameter, where: float) -> Value:
    """The value nearest to a place that the parameter can have."""
    low, high = float(parameter.low), float(parameter.high)
    value = exp(log(low) + where * (log(high) - log(low))) if parameter.log else low + where * (high - low)
    if isinstance(parameter, IntParameter):
        return min(max(round(value), parameter.low), parameter.high)
    if parameter.step is not None:
        value = low + round((value - low) / parameter.step) * parameter.step
    return min(max(value, low), high)


def near(parameter: Parameter, value: Value, spread: float, chance: Random) -> Value:
    """Drawn around a value: normal with this deviation, cut at the ends; a choice stays, or any is taken."""
    if isinstance(parameter, ChoiceParameter):
        return chance.choice(parameter.choices) if chance.random() < 2 * spread else value
    center = place(parameter, value)
    while not 0 <= (where := chance.gauss(center, spread)) <= 1:
        pass
    return value_at(parameter, where)


def log_density(parameter: Parameter, center: Value, spread: float, value: Value) -> float:
    """How likely `near` gives a value, up to a factor that is the same for all values and spreads."""
    if isinstance(parameter, ChoiceParameter):
        by_chance = 2 * spread / len(parameter.choices)
        return log(by_chance + (1 - 2 * spread) * (value == center))
    distance = (place(parameter, value) - place(parameter, center)) / spread
    return -0.5 * distance**2 - log(spread)
