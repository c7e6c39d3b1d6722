"""Maps a space to the unit cube: every range becomes 0 to 1, on its own scale."""

from math import exp, log

from tuner.spec.space import FloatParameter, IntParameter
from tuner.spec.trial import Value


def to_unit(parameter: FloatParameter | IntParameter, value: Value) -> float:
    low, high, here = (float(x) for x in (parameter.low, parameter.high, value))
    if parameter.log:
        low, high, here = log(low), log(high), log(here)
    return (here - low) / (high - low) if high > low else 0.0


def from_unit(parameter: FloatParameter | IntParameter, where: float) -> Value:
    """Returns the value nearest to a place that the parameter can have."""
    low, high = float(parameter.low), float(parameter.high)
    value = exp(log(low) + where * (log(high) - log(low))) if parameter.log else low + where * (high - low)
    if isinstance(parameter, IntParameter):
        return min(max(round(value), parameter.low), parameter.high)
    if parameter.step is not None:
        value = low + round((value - low) / parameter.step) * parameter.step
    return min(max(value, low), high)
