"""The story of a study: draw a trial, write down what is measured of it, tell how it ended.

Whoever runs the trials (Ray Tune on a cluster, a loop in a test) calls `draw`, then `measure` at every
rung until it answers with an outcome, or `fail`, or `retry`. Everything is written to the store before it
counts, so that starting a study again takes it up where it was. After the search, race.py says which
trials are trained again.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Protocol

from tuner.budget import asks_for_noise, is_spent, time_spent
from tuner.calibration import calibrated
from tuner.front import is_unbeaten
from tuner.job import JobSpec
from tuner.race import default_due, due
from tuner.trial import Measurement, Outcome, Record, Trial

logger = logging.getLogger(__name__)


class Store(Protocol):
    """Where the study is kept: the only truth about it."""

    def records(self) -> list[Record]: ...
    def draw(self) -> Trial: ...
    def repeat(self, number: int, seed: int) -> Trial: ...
    def measured(self, number: int, measurement: Measurement) -> None: ...
    def ended(self, number: int, outcome: Outcome, note: str) -> None: ...


class Rule(Protocol):
    """Who goes on at a rung."""

    def reached(self, number: int, iteration: int, value: float) -> None:
        """A trial of the search has this objective at a rung."""

    def goes_on(self, number: int, iteration: int) -> bool:
        """Whether a trial that reached the rung may go on to the next."""


class Watcher(Protocol):
    """Someone who is shown a study: MLflow, the terminal."""

    def changed(self, record: Record) -> None: ...


class Study:
    def __init__(
        self, job: JobSpec, store: Store, rule: Callable[[JobSpec], Rule], watchers: Iterable[Watcher] = ()
    ) -> None:
        self.job = job
        """As it was asked for; once rungs that are to be chosen are, with these."""
        self._store = store
        self._make_rule = rule
        self._watchers = tuple(watchers)
        self._records = {record.trial.number: record for record in store.records()}
        self._drawn = sum(record.trial.repeats is None for record in self.records)
        self._decide_rungs()
        self._interrupted = [record.trial for record in self.records if record.outcome is None]
        self._crashes: dict[int, list[str]] = {}
        self._deadline = time.monotonic() + job.budget.hours * 3600 - time_spent(self.records)

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

    @property
    def left(self) -> int:
        """How many trials of the search are still to be drawn."""
        return 0 if is_spent(self.job, self.records) else self.job.budget.trials - self._drawn

    @property
    def is_over(self) -> bool:
        ended = self.left <= 0 and all(record.outcome for record in self.records)
        return ended and not due(self.job, self.records)

    def draw(self) -> Trial | None:
        """The next trial, an interrupted one first; None when the budget is spent.

        While trials run, ask again: one may have to be drawn once more, and after the last the race begins.
        """
        if time.monotonic() > self._deadline:
            return None
        if self._interrupted:
            return self._interrupted.pop(0)
        if repeats := self._repeats():
            trial = self._store.repeat(*repeats[0])
        elif self.left > 0:
            trial = self._store.draw()
            self._drawn += 1
        else:
            return None
        self._change(Record(trial, outcome=None, started=datetime.now(timezone.utc)))
        return trial

    def measure(self, number: int, measurement: Measurement) -> Outcome | None:
        """Writes a measurement down; the outcome if the trial ends here, None if it goes on.

        A measurement that is known (its trial was cut off while it was told) is judged again; one whose
        objective is no number is none: the trial has diverged.
        """
        record = self._records[number]
        objective = measurement.metrics[self.job.objective.metric]
        if not math.isfinite(objective):
            note = f"{self.job.objective.metric} {objective} at iteration {measurement.iteration}"
            self.fail(number, Outcome.DIVERGED, note)
            return Outcome.DIVERGED
        known = record.last is not None and record.last.iteration >= measurement.iteration
        if not known:
            self._store.measured(number, measurement)
            self._change(replace(record, measurements=(*record.measurements, measurement)))
            self._compare(record.trial, measurement)
        outcome = self._judge(number, measurement)
        if outcome:
            self._end(number, outcome)
        return outcome

    def fail(self, number: int, outcome: Outcome, note: str) -> None:
        if self._records[number].outcome is None:
            self._end(number, outcome, note)

    def retry(self, number: int, note: str, *, died: bool) -> None:
        """Has a crashed trial drawn again, to go on from its checkpoint, until its retries are spent.

        An error that a rank raised (`died` is false) twice in a row will not go away: no third time.
        """
        if self._records[number].outcome:
            return
        crashes = self._crashes.setdefault(number, [])
        is_stuck = not died and crashes[-1:] == [note]
        crashes.append(note)
        if is_stuck or len(crashes) > self.job.budget.retries:
            self.fail(number, Outcome.CRASHED, note)
            return
        told = f"retry {len(crashes)} of {self.job.budget.retries}"
        logger.warning("trial %d: %s; it goes on from its checkpoint, %s", number, note, told)
        self._interrupted.append(self._records[number].trial)

    def _repeats(self) -> list[tuple[int, int]]:
        """What is to be trained again now: in the search the default alone, when patience asks for it."""
        if self.left <= 0:
            return due(self.job, self.records)
        return default_due(self.job, self.records) if asks_for_noise(self.job, self.records) else []

    def _judge(self, number: int, measurement: Measurement) -> Outcome | None:
        if measurement.iteration >= self.job.fidelity.iterations:
            return Outcome.COMPLETED
        iteration = measurement.iteration
        is_spared = number == 0 or self._records[number].trial.repeats is not None
        is_compared = not is_spared and self.job.fidelity.compares_at(iteration)
        goes_on = (
            not is_compared
            or self._rule.goes_on(number, iteration)
            or is_unbeaten(self.job.objective, number, iteration, self.records)
        )
        return None if goes_on else Outcome.PRUNED

    def _decide_rungs(self) -> None:
        """Has the rule compare at the rungs that are given, or at those that the trials so far choose."""
        self.job = calibrated(self.job, self.records)
        self._rule = self._make_rule(self.job)
        for record in self.records:
            for measurement in record.measurements:
                self._compare(record.trial, measurement)

    def _compare(self, trial: Trial, measurement: Measurement) -> None:
        if trial.repeats is None:
            value = measurement.metrics[self.job.objective.metric]
            self._rule.reached(trial.number, measurement.iteration, value)

    def _end(self, number: int, outcome: Outcome, note: str = "") -> None:
        self._store.ended(number, outcome, note)
        ended = datetime.now(timezone.utc)
        self._change(replace(self._records[number], outcome=outcome, ended=ended, note=note))
        if self.job.fidelity.rungs == "auto":
            self._decide_rungs()

    def _change(self, record: Record) -> None:
        self._records[record.trial.number] = record
        for watcher in self._watchers:
            watcher.changed(record)
