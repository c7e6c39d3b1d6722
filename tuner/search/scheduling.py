"""Decides which trials continue at a rung; a rung is an mmcv iteration."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise
from math import ceil, floor

from tuner.spec.job import JobSpec
from tuner.study.protocols import Scheduler

FINISHED = 4
"""One of this number of screened trials is finished."""
DEFAULT_AFTER = 3
"""The default is finished after this number of others: sooner, it would delay the first better one by a training."""


def scheduler_for(job: JobSpec) -> Scheduler:
    rungs, direction = job.fidelity.evaluation_points, job.objective.direction
    match job.search.scheduler:
        case "asha":
            return Asha(rungs, direction)
        case "screen":
            return Screen(rungs, direction)
        case "none":
            return Nobody()


class _Stopping:
    """Prunes what does not continue; nothing pauses."""

    pauses = False

    def to_finish(self, paused: Sequence[int], finished: Collection[int], is_drawing: bool) -> int | None:
        return None


class Nobody(_Stopping):
    """Stops no trial."""

    def reached(self, number: int, iteration: int, value: float) -> None: ...

    def should_continue(self, number: int, iteration: int) -> bool:
        return True


class Asha(_Stopping):
    """Is asynchronous successive halving (Li et al. 2020) in its stopping form.

    Of the trials that reached a rung, the share rung / next rung goes on, so that every rung costs the
    same in all. Nobody waits: the first to reach a rung always goes on. Objectives at a rung are kept sorted,
    so that adding a trial costs the logarithm of their number.
    """

    def __init__(self, rungs: Sequence[int], direction: str) -> None:
        self._sign = -1 if direction == "maximize" else 1
        self._share = {here: here / following for here, following in pairwise(rungs)}
        self._ranked: dict[int, list[float]] = defaultdict(list)
        self._own: dict[tuple[int, int], float] = {}

    def reached(self, number: int, iteration: int, value: float) -> None:
        self._own[number, iteration] = self._sign * value
        insort(self._ranked[iteration], self._sign * value)

    def should_continue(self, number: int, iteration: int) -> bool:
        ranked = self._ranked[iteration]
        better = bisect_left(ranked, self._own[number, iteration])
        return better < self._share.get(iteration, 1.0) * len(ranked)


class Screen:
    """Pauses every trial at the first rung, and finishes the best of those that pause.

    One of FINISHED that were screened is finished, as soon as that number is there and no trial waits for others
    ("i-epoch" of Egele et al. 2023, without its batches). After the last drawing the quota is rounded up. The default
    pauses too, and is finished in addition: there is no verdict without it.
    """

    pauses = True

    def __init__(self, rungs: Sequence[int], direction: str) -> None:
        self._sign = 1 if direction == "maximize" else -1
        self._first = rungs[0]
        self._own: dict[int, float] = {}

    def reached(self, number: int, iteration: int, value: float) -> None:
        if iteration == self._first:
            self._own[number] = self._sign * value

    def should_continue(self, number: int, iteration: int) -> bool:
        return iteration != self._first

    def to_finish(self, paused: Sequence[int], finished: Collection[int], is_drawing: bool) -> int | None:
        quota = (len(paused) + len(finished)) / FINISHED
        others, done = [number for number in paused if number], sum(number != 0 for number in finished)
        if others and done < (floor(quota) if is_drawing else ceil(quota)):
            return max(others, key=lambda number: (self._own[number], -number))
        is_defaults_turn = done >= DEFAULT_AFTER or not is_drawing
        return 0 if 0 in paused and is_defaults_turn else None
