"""Runs a search in virtual time: the same study, store, samplers and schedulers, over curves instead of trainings."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from tuner.simulation.surrogate import Surrogate
from tuner.spec.trial import Measurement, Outcome
from tuner.study.study import Study


@dataclass(frozen=True)
class Moment:
    """Says that a trial was measured in a simulated search."""

    number: int
    ended: bool
    hours: float
    """Since the search began."""
    trial_hours: float
    """The training time of all trials, summed."""
    begun: int
    """The trials that began or went on from a pause since the moment before."""
    busy: int
    """The workers that trained since the moment before."""


def simulate(study: Study, surrogate: Surrogate, workers: int) -> Iterator[Moment]:
    """Runs the study to its end, with a given number of trials at a time."""
    begun: dict[int, tuple[float, Sequence[Measurement]]] = {}
    waiting: list[tuple[float, int, int]] = []
    now, trained = 0.0, 0.0
    while True:
        before = len(waiting)
        while len(waiting) < workers and (trial := study.draw()):
            curve = surrogate.training(trial, study.evaluation_points)
            rung = len(study.records[trial.number].measurements)
            start = now - (curve[rung - 1].seconds if rung else 0.0)
            begun[trial.number] = start, curve
            heapq.heappush(waiting, (start + curve[rung].seconds, trial.number, rung))
        if not waiting:
            return
        busy = len(waiting)
        now, number, rung = heapq.heappop(waiting)
        start, curve = begun[number]
        trained += curve[rung].seconds - (curve[rung - 1].seconds if rung else 0.0)
        outcome = study.measure(number, curve[rung])
        if outcome:
            del begun[number]
        else:
            heapq.heappush(waiting, (start + curve[rung + 1].seconds, number, rung + 1))
        is_ended = isinstance(outcome, Outcome)
        yield Moment(number, is_ended, now / 3600, trained / 3600, busy - before, busy)


def idle_share(moments: Sequence[Moment], workers: int) -> float:
    """Returns the share of the workers' time that stood idle until the last trial began or went on."""
    last = max(index for index, moment in enumerate(moments) if moment.begun)
    idle, then = 0.0, 0.0
    for moment in moments[:last]:
        idle += (workers - moment.busy) * (moment.hours - then)
        then = moment.hours
    return idle / (workers * then) if then else 0.0


def cost_of_near_best(
    study: Study, surrogate: Surrogate, moments: Iterable[Moment], near: float
) -> float | None:
    """Returns the trial hours until the completed trial that looks best truly is within `near` of the best known."""
    history = study.history
    sign = history.sign
    goal = sign * surrogate.best_known - near
    records, looks = study.records, -inf
    for moment in moments:
        record = records[moment.number]
        value = history.score(record)
        ends_search = moment.ended and record.trial.replicate_of is None
        if not ends_search or record.outcome is not Outcome.COMPLETED or value <= looks:
            continue
        looks = value
        if sign * surrogate.truth(record.trial.params) >= goal:
            return moment.trial_hours
    return None
