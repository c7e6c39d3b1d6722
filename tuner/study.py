"""The story of a study: draw a trial, write down what is measured of it, tell how it ended.

Whoever runs the trials (Ray Tune on a cluster, a loop in a test) calls `draw`, then `measure` at every
rung until it answers with an outcome, or `fail`. Everything is written to the store before it counts, so
that starting a study again takes it up where it was.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Protocol, TypeAlias

from tuner.job import JobSpec
from tuner.trial import Measurement, Outcome, Record, Trial

Rule: TypeAlias = Callable[[float, list[float], int], bool]
"""Whether a trial with this objective goes on, given what all trials had at the same rung."""


class Store(Protocol):
    """Where the study is kept: the only truth about it."""

    def records(self) -> list[Record]: ...
    def draw(self) -> Trial: ...
    def measured(self, number: int, measurement: Measurement) -> None: ...
    def ended(self, number: int, outcome: Outcome, note: str) -> None: ...


class Watcher(Protocol):
    """Someone who is shown a study: MLflow, the terminal."""

    def changed(self, record: Record) -> None: ...


class Study:
    def __init__(self, job: JobSpec, store: Store, rule: Rule, watchers: Iterable[Watcher] = ()) -> None:
        self.job = job
        self._store = store
        self._rule = rule
        self._watchers = tuple(watchers)
        self._records = {record.trial.number: record for record in store.records()}
        self._interrupted = [record.trial for record in self.records if record.outcome is None]
        self._deadline = time.monotonic() + job.budget.hours * 3600

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

    @property
    def left(self) -> int:
        """How many trials are still to be drawn, or drawn again."""
        return self.job.budget.trials - len(self._records) + len(self._interrupted)

    @property
    def is_over(self) -> bool:
        return self.left <= 0 and all(record.outcome for record in self.records)

    def draw(self) -> Trial | None:
        """The next trial, an interrupted one first; None when the budget is spent."""
        if self.left <= 0 or time.monotonic() > self._deadline:
            return None
        if self._interrupted:
            return self._interrupted.pop(0)
        trial = self._store.draw()
        self._change(Record(trial, outcome=None, started=datetime.now(timezone.utc)))
        return trial

    def measure(self, number: int, measurement: Measurement) -> Outcome | None:
        """Writes a measurement down; the outcome if the trial ends here, None if it goes on.

        A measurement that is known (its trial was cut off while it was told) is judged again.
        """
        record = self._records[number]
        known = record.last is not None and record.last.iteration >= measurement.iteration
        if not known:
            self._store.measured(number, measurement)
            self._change(replace(record, measurements=(*record.measurements, measurement)))
        outcome = self._judge(number, measurement)
        if outcome:
            self._end(number, outcome)
        return outcome

    def fail(self, number: int, outcome: Outcome, note: str) -> None:
        if self._records[number].outcome is None:
            self._end(number, outcome, note)

    def _judge(self, number: int, measurement: Measurement) -> Outcome | None:
        if measurement.iteration >= self.job.fidelity.iterations:
            return Outcome.COMPLETED
        is_default = number == 0
        return None if is_default or self._goes_on(measurement) else Outcome.PRUNED

    def _goes_on(self, measurement: Measurement) -> bool:
        metric, iteration = self.job.objective.metric, measurement.iteration
        values = [record.value(metric, iteration) for record in self.records]
        reached = [value for value in values if value is not None]
        return self._rule(measurement.metrics[metric], reached, iteration)

    def _end(self, number: int, outcome: Outcome, note: str = "") -> None:
        self._store.ended(number, outcome, note)
        ended = datetime.now(timezone.utc)
        self._change(replace(self._records[number], outcome=outcome, ended=ended, note=note))

    def _change(self, record: Record) -> None:
        self._records[record.trial.number] = record
        for watcher in self._watchers:
            watcher.changed(record)


def best(job: JobSpec, records: Iterable[Record]) -> Record | None:
    """The completed trial with the best objective; the earlier one of equals."""
    metric = job.objective.metric
    sign = 1 if job.objective.direction == "maximize" else -1
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    return max(completed, key=lambda record: sign * (record.value(metric) or 0.0), default=None)
