"""Who goes on at a rung: rules by name, on the mmcv iteration."""

import zlib
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, pairwise

from tuner.job import JobSpec
from tuner.study import Rule

GRACE = 5
"""The median of fewer trials says nothing."""


def rule(job: JobSpec) -> Rule:
    rungs, direction = job.fidelity.stops, job.objective.direction
    match job.search.scheduler:
        case "asha":
            return Asha(rungs, direction)
        case "hyperband":
            return Hyperband(rungs, direction)
        case "median":
            return Median(direction)
        case "none":
            return Nobody()


class Nobody:
    """Is stopped."""

    def reached(self, number: int, iteration: int, value: float) -> None: ...

    def goes_on(self, number: int, iteration: int) -> bool:
        return True


class _Ranking:
    """The objectives at every rung, best first: what a rung costs grows with the logarithm of its trials."""

    def __init__(self, direction: str) -> None:
        self._sign = -1 if direction == "maximize" else 1
        self._ranked: dict[int, list[float]] = defaultdict(list)
        self._own: dict[tuple[int, int], float] = {}

    def reached(self, number: int, iteration: int, value: float) -> None:
        self._own[number, iteration] = self._sign * value
        insort(self._ranked[iteration], self._sign * value)

    def count(self, iteration: int) -> int:
        return len(self._ranked[iteration])

    def better(self, number: int, iteration: int) -> int:
        """How many did better there than the trial."""
        return bisect_left(self._ranked[iteration], self._own[number, iteration])


class Asha(_Ranking):
    """Asynchronous successive halving (Li et al. 2020) in its stopping form.

    Of the trials that reached a rung, the share rung / next rung goes on, so that every rung costs the
    same in all. Nobody waits: the first to reach a rung always goes on.
    """

    def __init__(self, rungs: Sequence[int], direction: str) -> None:
        super().__init__(direction)
        self._share = {here: here / following for here, following in pairwise(rungs)}

    def goes_on(self, number: int, iteration: int) -> bool:
        return self.better(number, iteration) < self._share.get(iteration, 1.0) * self.count(iteration)


class Hyperband:
    """Brackets of successive halving, each compared from a later rung on (Li et al. 2018, asynchronous).

    A trial's bracket follows from its number; the brackets share the iterations evenly. Trials are compared
    within their bracket only.
    """

    def __init__(self, rungs: Sequence[int], direction: str) -> None:
        self._rungs = rungs
        self._brackets = [Asha(rungs, direction) for _ in rungs]
        costs = [rung * (len(rungs) - index) for index, rung in enumerate(rungs)]
        self._bounds = list(accumulate(1 / cost for cost in costs))

    def reached(self, number: int, iteration: int, value: float) -> None:
        self._brackets[self._bracket(number)].reached(number, iteration, value)

    def goes_on(self, number: int, iteration: int) -> bool:
        own = self._bracket(number)
        return iteration < self._rungs[own] or self._brackets[own].goes_on(number, iteration)

    def _bracket(self, number: int) -> int:
        place = zlib.crc32(str(number).encode()) / 2**32 * self._bounds[-1]
        return next(index for index, bound in enumerate(self._bounds) if place < bound)


class Median(_Ranking):
    """A trial below the median of those that reached the rung is stopped (Golovin et al. 2017)."""

    def goes_on(self, number: int, iteration: int) -> bool:
        count = self.count(iteration)
        return count < GRACE or self.better(number, iteration) < count / 2
