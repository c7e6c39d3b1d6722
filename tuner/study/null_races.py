"""Draws races in which no candidate is better than the default: what their looks show by chance alone."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray

DRAWS = 20_000
FIRST = 2
"""The number of seeds at the first look."""


@dataclass(frozen=True)
class NullRaces:
    """Holds what many races without a difference show at one look and over all of them."""

    at_look: Array
    """The leader's difference to the default in its estimated standard errors at the look, rising."""
    least_errors: Array
    """The least chance, a seed, of looking so good without a difference over a race's looks, rising."""
    seeds: int
    """The number of seeds at the look."""

    def probability(self, difference: float) -> float:
        """Returns the share of races whose leader's difference at the look is below this one."""
        return float(np.searchsorted(self.at_look, difference) / DRAWS)

    def level(self, sure: float) -> float:
        """Returns the probability that the look must reach so that this share of races reaches it at no look.

        The error that a look may make grows with its seeds, as the first looks know little of the noise.
        """
        return 1 - self.seeds * float(np.quantile(self.least_errors, 1 - sure))

    def quantile(self, probability: float) -> float:
        """Returns the difference at the look below which this share of races stays."""
        return float(np.quantile(self.at_look, probability))


@lru_cache
def null_races(kept: tuple[int, ...], seeds: int, default_seeds: int) -> NullRaces:
    """Draws races with `kept` candidates trained with the first seed, the second, and so on; the better stay.

    The look is the one after `seeds` seeds, when the default has `default_seeds` values; at other looks it has
    one more than there are seeds. The noise is estimated from all trainings so far, as it is of real ones.
    """
    chance = np.random.default_rng(0)
    default = chance.standard_normal((DRAWS, max(len(kept) + 1, default_seeds)))
    values = chance.standard_normal((DRAWS, kept[0], len(kept)))
    looks = {}
    stay = np.ones((DRAWS, kept[0]), dtype=bool)
    squares = np.zeros(DRAWS)
    for seed in range(1, len(kept) + 1):
        stay = _best(stay, values[:, :, : seed - 1], kept[seed - 1]) if seed > 1 else stay
        squares += np.where(stay, _growth(values, seed), 0.0).sum(axis=1)
        if seed >= FIRST:
            own = default[:, : default_seeds if seed == seeds else seed + 1]
            freedom = own.shape[1] - 1 + sum(kept[1:seed])
            noise = np.sqrt((squares + own.var(axis=1) * own.shape[1]) / freedom)
            leader = np.where(stay, values[:, :, :seed].mean(axis=2), -np.inf).max(axis=1)
            error = noise * np.sqrt(1 / seed + 1 / own.shape[1])
            looks[seed] = (leader - own.mean(axis=1)) / error
    at_looks = {seed: np.sort(look) for seed, look in looks.items()}
    errors = [(1 - np.searchsorted(at_looks[seed], look) / DRAWS) / seed for seed, look in looks.items()]
    return NullRaces(at_looks[seeds], np.sort(np.min(errors, axis=0)), seeds)


def _best(stay: Array, values: Array, count: int) -> Array:
    """Returns which candidates stay: of those that are there, the ones with the best means."""
    means = np.where(stay, values.mean(axis=2), -np.inf)
    last = -np.sort(-means, axis=1)[:, count - 1 : count]
    return stay & (means >= last)


def _growth(values: Array, seed: int) -> Array:
    """Returns by how much a training more raises each candidate's sum of squares around its mean (Welford 1962)."""
    if seed == 1:
        return np.zeros(values.shape[:2])
    before = values[:, :, : seed - 1].mean(axis=2)
    grown: Array = (values[:, :, seed - 1] - before) ** 2 * (seed - 1) / seed
    return grown
