"""What failed trials teach: where everything around ran out of memory or diverged, few more are drawn."""

from collections.abc import Iterable

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from tuner.search.sampling import distributions
from tuner.space import Params, Space
from tuner.trial import Outcome, Value

OUTCOME = "outcome"
NEIGHBOURS = 5
"""So many, all of them failed, make a region to keep away from."""
STILL_DRAWN = {Outcome.OUT_OF_MEMORY: 0.02, Outcome.DIVERGED: 0.1}
"""Once it happened: the share of the trials that are drawn evenly, over all of the space, so that nothing is
avoided for ever. A divergence may be bad luck."""
LESSONS = (Outcome.COMPLETED, Outcome.PRUNED, *STILL_DRAWN)
"""A crash teaches nothing."""


def outcome(trial: FrozenTrial) -> Outcome | None:
    told = trial.user_attrs.get(OUTCOME)
    return Outcome(told) if told and trial.state.is_finished() else None


class Failures:
    """The ended trials of a study as points of the unit cube; a choice is its index."""

    def __init__(self, space: Space) -> None:
        self._distributions = distributions(space)
        self._is_choice = np.array([_is_choice(each) for each in self._distributions.values()])
        self._points: dict[int, tuple[list[float], float]] = {}
        self._failed = 0
        self.largest_share = 0.0

    def see(self, trials: Iterable[FrozenTrial]) -> None:
        for trial in trials:
            if trial.number not in self._points and (how := outcome(trial)) in LESSONS:
                assert how
                share = STILL_DRAWN.get(how, 1.0)
                self._points[trial.number] = self._point(trial.params), share
                if share < 1:
                    self._failed += 1
                    self.largest_share = max(self.largest_share, share)

    def share(self, params: Params) -> float:
        """Of all trials, those that may be drawn there: 1 unless all neighbours failed.

        Neighbours are looked for along each parameter alone, as memory often hangs on a single one, and in
        all of them together.
        """
        if self._failed < NEIGHBOURS:
            return 1.0
        numbers = sorted(self._points)
        points = np.array([self._points[number][0] for number in numbers])
        shares = np.array([self._points[number][1] for number in numbers])
        away = np.abs(points - np.array(self._point(params)))
        away = np.where(self._is_choice, away != 0, away)
        away = np.nan_to_num(away, nan=1.0)
        together = np.sqrt((away**2).sum(axis=1, keepdims=True))
        return min(_of_the_nearest(each, shares) for each in np.hstack([away, together]).T)

    def _point(self, params: Params) -> list[float]:
        return [
            _position(each, params[name]) if name in params else np.nan
            for name, each in self._distributions.items()
        ]


def _of_the_nearest(away: np.ndarray, shares: np.ndarray) -> float:
    """The largest share among the nearest; all that are as near as the last of them count."""
    reach = np.partition(away, NEIGHBOURS - 1)[NEIGHBOURS - 1]
    return float(shares[away <= reach].max())


def _is_choice(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, CategoricalDistribution)


def _position(distribution: BaseDistribution, value: Value) -> float:
    place: float = distribution.to_internal_repr(value)
    if distribution.single() or not isinstance(distribution, FloatDistribution | IntDistribution):
        return place
    low, high = distribution.low, distribution.high
    if distribution.log:
        low, high, place = np.log(low), np.log(high), np.log(place)
    return float((place - low) / (high - low))
