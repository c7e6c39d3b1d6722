"""Gives means, differences and importances with their 95 % intervals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from random import Random
from statistics import fmean, quantiles, stdev
from typing import NamedTuple

from scipy.stats import t, ttest_ind

Values = Mapping[int, float]
"""The objectives of one recipe's trainings, by seed."""


class Interval(NamedTuple):
    """Holds an estimate, its 95 % interval, and of how many seeds or draws it is made."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def differs(self) -> bool:
        """Tells whether zero lies outside."""
        return self.low > 0 or self.high < 0

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


def mean(values: Iterable[float]) -> Interval:
    """Returns the mean with Student's interval."""
    values = list(values)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Interval(fmean(values), fmean(values) - half, fmean(values) + half, len(values))


def difference(one: Values, other: Values) -> Interval:
    """Returns how much the one's mean is above the other's, with Welch's interval."""
    pair = [list(one.values()), list(other.values())]
    found = ttest_ind(*pair, equal_var=False).confidence_interval(0.95)
    apart = fmean(pair[0]) - fmean(pair[1])
    return Interval(apart, float(found.low), float(found.high), min(map(len, pair)))


def paired(one: Values, other: Values) -> Interval:
    """Returns the mean difference of the same trainings, measured in two ways, with Student's interval."""
    return mean(one[seed] - other[seed] for seed in one)


def resampled(rows: Sequence[object], estimate: Callable[[Sequence[object]], float], draws: int) -> Interval:
    """Returns an estimate with its percentile interval, by drawing as many rows again with replacement."""
    chance = Random(0)
    found = [estimate(chance.choices(rows, k=len(rows))) for _ in range(draws)]
    cuts = quantiles(found, n=40)
    return Interval(estimate(rows), cuts[0], cuts[-1], draws)
