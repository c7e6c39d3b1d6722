"""Is the best better than the default, given the noise between seeds?

The search compares single trainings. Of many that differ by chance alone one is always best, so the value
by which a trial was picked proves nothing. Therefore the default and the best few are trained again, all with
the same other seeds, and of the candidates these repeats alone count. The default was picked by no value: its
search value counts too. Three seeds tell little of the noise: it is pooled over all that was repeated.

Several candidates race, and the best of several looks too good. What that does is computed by drawing many
races in which nobody is better than the default (after Dunnett 1955), for as many candidates, seeds and
degrees of freedom. Probability and interval both come from these draws; the interval's upper end is that of
a candidate that raced alone, as it may have stood out. Seeds that are good or bad for everybody cancel in the
difference but not in the noise, which errs on the safe side.

All values are such that more is better.
"""

import random
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import fmean, variance
from typing import Literal, TypeAlias

Values: TypeAlias = Mapping[int, float]
"""Of one trial's trainings: seed → objective."""

DRAWS = 20_000
SURE = 0.96
"""Drawing and the race's own choices have errors: this keeps false alarms below one in twenty."""
BEHIND, KNOWN = 4.0, 5
"""A candidate leaves the race when it is behind the first by so many standard errors, from so many degrees of
freedom of the noise on: one that left by chance would take its share of the noise along."""


@dataclass(frozen=True)
class Verdict:
    candidate: int
    """The number of the trial that came out best of the repeats, the default left aside."""
    difference: float
    """The candidate's mean minus the default's."""
    low: float
    """The 95 % interval of the difference; that the best of several looks too good is taken off it."""
    high: float
    probability: float
    """That the candidate is better than the default."""
    seeds: int

    @property
    def ruling(self) -> Literal["confirmed", "not distinguishable", "worse"]:
        if self.probability >= SURE:
            return "confirmed"
        return "worse" if self.probability <= 1 - SURE else "not distinguishable"


def verdict(default: Values, candidates: Mapping[int, Values]) -> Verdict | None:
    """None unless there are a candidate and a default with two seeds or more.

    Judged is the best of the candidates with the most seeds; those that left the race count as competitors.
    """
    seeds = max(map(len, candidates.values()), default=0)
    if seeds < 2 or len(default) < 2:
        return None
    means = {number: fmean(values.values()) for number, values in candidates.items() if len(values) == seeds}
    candidate = max(means, key=lambda number: means[number])
    difference = means[candidate] - fmean(default.values())
    deviation, freedom = noise([default, *candidates.values()])
    error = max(deviation, 1e-12) * sqrt(1 / seeds + 1 / len(default))
    by_chance = _races_without_difference(len(candidates), seeds, len(default), freedom)
    alone = _races_without_difference(1, seeds, len(default), freedom)
    return Verdict(
        candidate=candidate,
        difference=difference,
        low=difference - error * by_chance[round(0.975 * DRAWS) - 1],
        high=difference - error * alone[round(0.025 * DRAWS)],
        probability=bisect_left(by_chance, difference / error) / DRAWS,
        seeds=seeds,
    )


def racing(default: Values, candidates: Mapping[int, Values]) -> list[int]:
    """The candidates, trained with equal seeds, that can still come out best."""
    deviation, freedom = noise([default, *candidates.values()])
    if freedom < KNOWN or not candidates:
        return list(candidates)
    means = {number: fmean(values.values()) for number, values in candidates.items()}
    seeds = min(map(len, candidates.values()))
    last = max(means.values()) - BEHIND * deviation * sqrt(2 / seeds)
    return [number for number, mean in means.items() if mean >= last]


def noise(trials: Iterable[Values]) -> tuple[float, int]:
    """The standard deviation between trainings that differ by seed alone, and its degrees of freedom."""
    repeated = [list(values.values()) for values in trials if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    squares = sum(variance(values) * (len(values) - 1) for values in repeated)
    return (sqrt(squares / freedom) if freedom else 0.0), freedom


@lru_cache
def _races_without_difference(candidates: int, seeds: int, default_seeds: int, freedom: int) -> list[float]:
    """The winner's difference to the default in its estimated standard errors, rising."""
    chance = random.Random(0)
    of_mean, of_default = sqrt(1 / seeds), sqrt(1 / default_seeds)
    error = sqrt(1 / seeds + 1 / default_seeds)
    races = []
    for _ in range(DRAWS):
        best = max(chance.gauss(0, of_mean) for _ in range(candidates))
        deviation = sqrt(chance.gammavariate(freedom / 2, 2 / freedom))
        races.append((best - chance.gauss(0, of_default)) / (error * deviation))
    return sorted(races)
