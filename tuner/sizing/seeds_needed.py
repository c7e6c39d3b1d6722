"""Tells before a search how many seeds it takes to tell a difference from noise."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, sqrt

from tuner.study.history import History
from tuner.study.replication import noise_between_seeds

PUBLISHED = 0.37
"""The standard deviation of mIoU between seeds: PoolFormer with Semantic FPN on ADE20K, five sizes with five
seeds each, pooled (mmsegmentation, pull request 2191)."""
DIFFERENCES = (1.0, 0.6, 0.5, 0.3)
TWO_SIDED, POWER = 1.96, 0.8416
"""Quantiles of the normal distribution: an error of 5 % and a power of 80 %."""


@dataclass(frozen=True)
class SeedsNeeded:
    """Holds the noise that a job must expect, and how many seeds each difference needs."""

    noise: float
    source: str
    """Where the noise comes from."""
    seeds: dict[float, int]
    """The number of seeds an arm, by difference of the objective."""


def seeds_needed(earlier: Iterable[History], metric: str) -> SeedsNeeded | None:
    """Returns what differences need by the noise of earlier studies of the same config, else by the published one.

    The number is 2 ((z_0.975 + z_0.8) noise / difference)², for two means of as many seeds each and a known noise.
    None for a metric whose noise nobody has measured.
    """
    known = [(*noise_between_seeds(history), history.job.name) for history in earlier]
    known = [each for each in known if each[1]]
    if freedom := sum(each[1] for each in known):
        noise = sqrt(sum(deviation**2 * own for deviation, own, _ in known) / freedom)
        return _needed(noise, f"measured by {', '.join(each[2] for each in known)}")
    if metric == "mIoU":
        return _needed(
            PUBLISHED, "published for PoolFormer with Semantic FPN on ADE20K; yours is not measured yet"
        )
    return None


def _needed(noise: float, source: str) -> SeedsNeeded:
    factor = 2 * ((TWO_SIDED + POWER) * noise) ** 2
    return SeedsNeeded(noise, source, {each: max(2, ceil(factor / each**2)) for each in DIFFERENCES})
