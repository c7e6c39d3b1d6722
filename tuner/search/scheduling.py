"""Who goes on at a rung: rules by name, on the mmcv iteration."""

import zlib
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from statistics import median

from tuner.job import JobSpec
from tuner.study import Rule

GRACE = 5
"""The median of fewer trials says nothing."""


def rule(job: JobSpec) -> Rule:
    rungs, direction = job.fidelity.stops, job.objective.direction
    match job.search.scheduler:
        case "asha":
            return asha(rungs, direction)
        case "hyperband":
            return hyperband(rungs, direction)
        case "median":
            return median_rule(direction)
        case "none":
            return lambda *_: True


def asha(rungs: Sequence[int], direction: str) -> Rule:
    """Asynchronous successive halving (Li et al. 2020) in its stopping form.

    Of the trials that reached a rung, the share rung / next rung goes on, so that every rung costs the
    same in all. Nobody waits: the first to reach a rung always goes on.
    """
    share = {here: here / following for here, following in pairwise(rungs)}
    sign = 1 if direction == "maximize" else -1

    def goes_on(number: int, reached: Mapping[int, float], iteration: int) -> bool:
        value = reached[number]
        better = sum(sign * other > sign * value for other in reached.values())
        return better < share.get(iteration, 1.0) * len(reached)

    return goes_on


def hyperband(rungs: Sequence[int], direction: str) -> Rule:
    """Brackets of successive halving, each compared from a later rung on (Li et al. 2018, asynchronous).

    A trial's bracket follows from its number; the brackets share the iterations evenly. Trials are compared
    within their bracket only.
    """
    halve = asha(rungs, direction)
    costs = [rung * (len(rungs) - index) for index, rung in enumerate(rungs)]
    bounds = list(accumulate(1 / cost for cost in costs))

    def bracket(number: int) -> int:
        place = zlib.crc32(str(number).encode()) / 2**32 * bounds[-1]
        return next(index for index, bound in enumerate(bounds) if place < bound)

    def goes_on(number: int, reached: Mapping[int, float], iteration: int) -> bool:
        own = bracket(number)
        rivals = {other: value for other, value in reached.items() if bracket(other) == own}
        return iteration < rungs[own] or halve(number, rivals, iteration)

    return goes_on


def median_rule(direction: str) -> Rule:
    """A trial below the median of those that reached the rung is stopped (Golovin et al. 2017)."""
    sign = 1 if direction == "maximize" else -1

    def goes_on(number: int, reached: Mapping[int, float], _: int) -> bool:
        return len(reached) < GRACE or sign * reached[number] >= sign * median(reached.values())

    return goes_on
