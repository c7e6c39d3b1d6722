"""Compares numbers of centers, given the noise between seeds.

Of every number the best trial that the search found is trained again, all with the same other seeds, which
alone count. So what is compared is the best that was found for each number, not numbers with all else equal.
The more there are, the more often one stands out by chance. So intervals and probabilities are Tukey's, for
all pairs at once: from the range of as many means in which nobody differs, in standard errors of a mean,
computed by drawing. The noise is pooled over all that was repeated.

All values are such that more is better.
"""

import random
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import fmean
from typing import Literal, TypeAlias

from tuner.spec.trial import Value
from tuner.study.null_races import DRAWS
from tuner.study.verdict import SURE, Values

Ruling: TypeAlias = Literal["confirmed", "not distinguishable", "worse"]


@dataclass(frozen=True)
class Other:
    """Compares a number of centers with the best one."""

    centers: Value
    trial: int
    """The number of the best trial with this count."""
    difference: float
    """Its mean minus that of the best number."""
    low: float
    """The 95 % interval of the difference; all such intervals hold together."""
    high: float
    probability: float
    """The probability that the best number is better than this one."""
    ruling: Ruling


@dataclass(frozen=True)
class Comparison:
    centers: Value
    """The number that came out best."""
    trial: int
    seeds: int
    others: tuple[Other, ...]
    """The better first."""
    ruling: Ruling
    """Confirmed: all others are worse."""


def comparison(
    trials: Mapping[Value, int], values: Mapping[Value, Values], noise: tuple[float, int]
) -> Comparison | None:
    """Compares numbers of centers by their trials' values; None without two numbers and two seeds.

    Only seeds that all have count. noise is the standard deviation between seeds and its degrees of freedom.
    """
    shared = set.intersection(*(set(each) for each in values.values())) if values else set()
    if len(values) < 2 or len(shared) < 2:
        return None
    means = {centers: fmean(each[seed] for seed in shared) for centers, each in values.items()}
    best, *others = sorted(means, key=lambda centers: -means[centers])
    deviation, freedom = noise
    error = max(deviation, 1e-12) / sqrt(len(shared))
    ranges = _ranges_without_difference(len(values), freedom)
    half = error * ranges[round(SURE * DRAWS) - 1]

    def against_best(centers: Value) -> Other:
        difference = means[centers] - means[best]
        probability = bisect_left(ranges, -difference / error) / DRAWS
        ruling = _ruling(probability >= SURE, "worse")
        return Other(
            centers, trials[centers], difference, difference - half, difference + half, probability, ruling
        )

    found = tuple(map(against_best, others))
    ruling = _ruling(all(other.ruling == "worse" for other in found), "confirmed")
    return Comparison(best, trials[best], len(shared), found, ruling)


def _ruling(is_sure: bool, ruling: Ruling) -> Ruling:
    return ruling if is_sure else "not distinguishable"


@lru_cache
def _ranges_without_difference(means: int, freedom: int) -> list[float]:
    """Returns the ranges of this many means that differ by chance alone, in estimated standard errors, rising."""
    chance = random.Random(0)
    ranges = []
    for _ in range(DRAWS):
        drawn = [chance.gauss(0, 1) for _ in range(means)]
        ranges.append((max(drawn) - min(drawn)) / sqrt(chance.gammavariate(freedom / 2, 2 / freedom)))
    return sorted(ranges)
