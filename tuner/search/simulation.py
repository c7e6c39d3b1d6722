"""A search in virtual time: the same study, store, samplers and rules, over curves in place of trainings."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from tuner.search.surrogate import Surrogate
from tuner.study import Study
from tuner.trial import Measurement, Outcome


@dataclass(frozen=True)
class Moment:
    """A trial was measured in a simulated search."""

    number: int
    ended: bool
    hours: float
    """Since the search began."""
    trial_hours: float
    """How long trials have trained, summed over all."""


def simulate(study: Study, surrogate: Surrogate, workers: int) -> Iterator[Moment]:
    """Runs the study to its end, with so many trials at a time."""
    begun: dict[int, tuple[float, Sequence[Measurement]]] = {}
    waiting: list[tuple[float, int, int]] = []
    now, trained = 0.0, 0.0
    while True:
        while len(waiting) < workers and (trial := study.draw()):
            curve = _at(study.job.fidelity.stops, surrogate.training(trial))
            begun[trial.number] = now, curve
            heapq.heappush(waiting, (now + curve[0].seconds, trial.number, 0))
        if not waiting:
            return
        now, number, rung = heapq.heappop(waiting)
        start, curve = begun[number]
        trained += curve[rung].seconds - (curve[rung - 1].seconds if rung else 0.0)
        ended = study.measure(number, curve[rung]) is not None
        if ended:
            del begun[number]
        else:
            heapq.heappush(waiting, (start + curve[rung + 1].seconds, number, rung + 1))
        yield Moment(number, ended, now / 3600, trained / 3600)


def _at(stops: Sequence[int], curve: Sequence[Measurement]) -> Sequence[Measurement]:
    return [measurement for measurement in curve if measurement.iteration in stops]


def cost_of_near_best(
    study: Study, surrogate: Surrogate, moments: Iterable[Moment], near: float
) -> float | None:
    """Trial hours until the completed trial that looks best truly is within `near` of the best known."""
    sign = 1 if study.job.objective.direction == "maximize" else -1
    goal = sign * surrogate.best_known() - near
    records, looks = study.records, -inf
    for moment in moments:
        record = records[moment.number]
        value = sign * (record.value(study.job.objective.metric) or 0.0)
        ends_search = moment.ended and record.trial.repeats is None
        if not ends_search or record.outcome is not Outcome.COMPLETED or value <= looks:
            continue
        looks = value
        if sign * surrogate.truth(record.trial.params) >= goal:
            return moment.trial_hours
    return None
