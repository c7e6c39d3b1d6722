"""Judges whether the best is better than the default, given the noise between seeds, look by look.

The search compares single trainings. Of many that differ by chance alone one is always best, so the value
by which a trial was picked proves nothing. Therefore the default and the best few are trained again, all with
the same other seeds, and of the candidates these repeats alone count. The default was picked by no value: its
search value counts too. Few seeds tell little of the noise: it is pooled over all that was repeated.

After every round with one more seed the worse half of the candidates leaves, and from two seeds on there is a
look: a verdict that stands ends the race. Who looks several times errs more often. So the looks share one error
(alpha spending: Lan and DeMets, Biometrika 70, 1983), in proportion to their seeds, such that a race in which nobody
is better than the default is confirmed at any of its looks with probability 1 - SURE. Each look's part of it, the
distribution of the leader's difference there (after Dunnett 1955, for the leader of several) and the interval
(repeated, so that it holds at whatever look the race ends: Jennison and Turnbull 1989) come from drawing such races
whole. A leader that is no likelier than not to be better ends the race too, which lowers false alarms.

All values are such that more is better.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import fmean, variance
from typing import Literal, TypeAlias

from tuner.study.null_races import null_races

Values: TypeAlias = Mapping[int, float]
"""The objectives of one trial's trainings, by seed."""

SURE = 0.96
"""One minus the chance of a false alarm over all looks; below one in twenty, as drawing has errors too."""
INTERVAL = 0.975
"""One minus the chance that the true difference lies below the interval at any look."""
HOPELESS = 0.5
"""A race ends when its leader is better than the default with less than this probability."""


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
    """The probability that the candidate is better than the default."""
    seeds: int
    sure: float = SURE
    """The probability from which on this look confirms: above SURE where there are several looks."""

    @property
    def ruling(self) -> Literal["confirmed", "not distinguishable", "worse"]:
        if self.probability >= self.sure:
            return "confirmed"
        return "worse" if self.probability <= 1 - self.sure else "not distinguishable"

    @property
    def stands(self) -> bool:
        """Tells whether more seeds are not worth their training: it is confirmed, or will not be."""
        return self.ruling == "confirmed" or self.probability < HOPELESS


def verdict(default: Values, candidates: Mapping[int, Values], most: int = 0) -> Verdict | None:
    """Judges the candidates; None unless there are a candidate and a default with two seeds or more.

    Judged is the best of the candidates with the most seeds; those that left the race count as competitors.
    `most` is the number of seeds at which the race ends at the latest; looks up to there share the error.
    """
    seeds = max(map(len, candidates.values()), default=0)
    if seeds < 2 or len(default) < 2:
        return None
    means = {number: fmean(values.values()) for number, values in candidates.items() if len(values) == seeds}
    candidate = max(means, key=lambda number: means[number])
    difference = means[candidate] - fmean(default.values())
    deviation, _ = noise([default, *candidates.values()])
    error = max(deviation, 1e-12) * sqrt(1 / seeds + 1 / len(default))
    kept = [sum(len(values) >= seed for values in candidates.values()) for seed in range(1, seeds + 1)]
    while len(kept) < most:
        kept.append(_half(kept[-1]))
    races = null_races(tuple(kept), seeds, len(default))
    alone = null_races((1,) * len(kept), seeds, len(default))
    return Verdict(
        candidate=candidate,
        difference=difference,
        low=difference - error * races.quantile(races.level(INTERVAL)),
        high=difference - error * alone.quantile(1 - alone.level(INTERVAL)),
        probability=races.probability(difference / error),
        seeds=seeds,
        sure=races.level(SURE),
    )


def remaining(candidates: Mapping[int, Values]) -> list[int]:
    """Returns the better half of the candidates, which were trained with equal seeds."""
    ranked = sorted(candidates, key=lambda number: -fmean(candidates[number].values()))
    return ranked[: _half(len(ranked))]


def noise(trials: Iterable[Values]) -> tuple[float, int]:
    """Returns the standard deviation between trainings that differ by seed alone, and its degrees of freedom."""
    repeated = [list(values.values()) for values in trials if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    squares = sum(variance(values) * (len(values) - 1) for values in repeated)
    return (sqrt(squares / freedom) if freedom else 0.0), freedom


def _half(candidates: int) -> int:
    return ceil(candidates / 2)
