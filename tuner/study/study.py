"""Tells the story of a study: draw a trial, write down what is measured of it, write down how it ended.

Whoever runs the trials (Ray Tune on a cluster, simulation/local_driver.py in one process) calls `draw`, then
`measure` at every rung until it answers with an outcome, or `fail`, or `retry`. Everything is written to the
store before it counts, so that starting a study again takes it up where it was. After the search, replication.py
says which trials are trained again.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone

from tuner.spec.job import Budget, JobSpec
from tuner.spec.pruning_signal import reading
from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.study.first_crashes import FirstCrashes, Retries
from tuner.study.history import History
from tuner.study.pareto import is_pareto_optimal
from tuner.study.protocols import Callback, Scheduler, Store
from tuner.study.replication import is_over, replicates_due, rounds
from tuner.study.rung_selection import rung_signals, selected_fidelity
from tuner.study.screening import PAUSED, Paused, Screening
from tuner.study.stopping import is_spent, is_time_for_the_verdict, time_spent

logger = logging.getLogger(__name__)


class Study:
    """Draws trials and judges them, by what its store holds."""

    def __init__(
        self,
        job: JobSpec,
        store: Store,
        scheduler_for: Callable[[JobSpec], Scheduler],
        callbacks: Iterable[Callback] = (),
    ) -> None:
        self.job = job
        """The job as it was asked for."""
        self.is_leaving = False
        """Tells that no more trials are drawn now; the study goes on when it is started again."""
        self._store = store
        self._scheduler_for = scheduler_for
        self._callbacks = tuple(callbacks)
        self._records = {record.trial.number: record for record in store.records()}
        self._drawn = sum(record.trial.replicate_of is None for record in self.records)
        self._decide_rungs()
        self._screening = Screening(self.records, self.evaluation_points, self._scheduler)
        waiting = self._screening.paused
        self._interrupted = [
            r.trial for r in self.records if r.outcome is None and r.trial.number not in waiting
        ]
        self._retries = Retries(job.budget.retries)
        self._remarks: dict[int, str] = {}
        self._first_crashes = FirstCrashes(self.records, job.budget.trials)
        self._deadline = time.monotonic() + job.budget.hours * 3600 - time_spent(self.records)

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

    @property
    def history(self) -> History:
        return History(self.job, self.records)

    @property
    def evaluation_points(self) -> tuple[int, ...]:
        """Returns the iterations at which a trial is evaluated, as they are known now."""
        return self._fidelity.evaluation_points

    @property
    def left(self) -> int:
        """Returns how many trials of the search are still to be drawn."""
        history, seconds = self.history, self._deadline - time.monotonic()
        is_over = is_spent(history) or is_time_for_the_verdict(history, seconds, rounds(history))
        return 0 if is_over else self.job.budget.trials - self._drawn

    @property
    def is_over(self) -> bool:
        return is_over(self.history)

    @property
    def hopeless(self) -> str | None:
        """Returns why the search has ended: the message with which its first trials crashed."""
        return self._first_crashes.hopeless

    def draw(self) -> Trial | None:
        """Returns the next trial, an interrupted one first; None when the budget is spent.

        While trials run, ask again: one may have to be drawn once more, and after the last the replication begins.
        """
        if self.is_leaving or time.monotonic() > self._deadline or self.hopeless:
            self._give_up()
            return None
        if self._interrupted:
            return self._interrupted.pop(0)
        if (number := self._paused_to_finish()) is not None:
            return self._records[number].trial
        if replicates := replicates_due(self.history, is_drawing=self.left > 0):
            trial = self._store.replicate(*replicates[0])
        elif self.left > 0:
            trial = self._store.draw()
            self._drawn += 1
        else:
            if not any(r.outcome is None and r.trial.number not in self._first_crashes for r in self.records):
                self._release_crashes()
            return None
        self._change(Record(trial, outcome=None, started=datetime.now(timezone.utc)))
        return trial

    def measure(self, number: int, measurement: Measurement) -> Outcome | Paused | None:
        """Writes a measurement down; returns the outcome if the trial ends or pauses here, None if it continues.

        A measurement that is in the store already (its trial was cut off while it was reported) is judged again.
        An objective that is no finite number means that the trial has diverged.
        """
        record = self._records[number]
        if record.outcome:
            return record.outcome
        failure = measurement.failure(self.job.objective.metric)
        if failure is None or failure[0] is Outcome.DIVERGED:
            self._release_crashes()
        if failure:
            self.fail(number, *failure)
            return failure[0]
        is_recorded = record.last is not None and record.last.iteration >= measurement.iteration
        if not is_recorded:
            self._store.measured(number, measurement)
            self._change(replace(record, measurements=(*record.measurements, measurement)))
            self._compare(record.trial, measurement)
        outcome = self._judge(number, measurement)
        if outcome and outcome != PAUSED:
            self._end(number, outcome)
        return outcome

    def fail(self, number: int, outcome: Outcome, note: str) -> None:
        if self._records[number].outcome:
            return
        if outcome is not Outcome.CRASHED:
            self._end(number, outcome, note)
        elif not self._first_crashes.hold(number, note):
            self._end(number, outcome, note)
            self._release_crashes()

    def retry(self, number: int, note: str, *, died: bool) -> None:
        """Has a crashed trial drawn again, to continue from its checkpoint, until its retries are spent."""
        if self._records[number].outcome:
            return
        if (retry := self._retries.left(number, note, died)) is None:
            self.fail(number, Outcome.CRASHED, note)
            return
        logger.warning("trial %d: %s; it continues from its checkpoint, %s", number, note, retry)
        self._interrupted.append(self._records[number].trial)

    def stop(self, number: int, note: str) -> bool:
        """Ends a trial that is not to be trained on; what it reached is kept. Tells whether there was one to end."""
        if number not in self._records or self._records[number].outcome:
            return False
        self._interrupted = [trial for trial in self._interrupted if trial.number != number]
        self._screening.forget(number)
        self._end(number, Outcome.PRUNED, note)
        return True

    def go_on_with(self, budget: Budget, added: Trial | None = None) -> None:
        """Goes on with another budget, and with a trial that was asked for."""
        self._deadline += (budget.hours - self.job.budget.hours) * 3600
        self.job = self.job.model_copy(update={"budget": budget})
        if added and added.number not in self._records:
            self._drawn += 1
            self._interrupted.append(added)
            self._change(Record(added, outcome=None, started=datetime.now(timezone.utc)))

    def remark(self, number: int, text: str) -> None:
        """Has a trial's note tell of something that happened to it, however the trial ends."""
        self._remarks[number] = text

    def _release_crashes(self) -> None:
        for number, note in self._first_crashes.release().items():
            self._end(number, Outcome.CRASHED, note)

    def _judge(self, number: int, measurement: Measurement) -> Outcome | Paused | None:
        if measurement.iteration >= self.job.fidelity.iterations:
            return Outcome.COMPLETED
        iteration = measurement.iteration
        is_replicate = self._records[number].trial.replicate_of is not None
        is_spared = is_replicate or (number == 0 and not self._scheduler.pauses)
        is_known = self._reading(measurement) is not None
        is_compared = not is_spared and is_known and self._fidelity.compares_at(iteration)
        should_continue = (
            not is_compared
            or self._scheduler.should_continue(number, iteration)
            or is_pareto_optimal(self.history, number, iteration)
        )
        if not should_continue and self._scheduler.pauses:
            return PAUSED if self._screening.pause(number) else None
        if not is_replicate:
            self._screening.went_on(number)
        return None if should_continue else Outcome.PRUNED

    def _paused_to_finish(self) -> int | None:
        """Returns the paused trial that is to be finished now; prunes those that never will be."""
        if not (paused := self._screening.paused):
            return None
        is_drawing = self.left > 0
        is_cut_short = not is_drawing and self._drawn < self.job.budget.trials
        number = self._screening.next_to_finish(self._scheduler, is_drawing, is_cut_short)
        others = {r.trial.number for r in self.records if r.outcome is None} - {*paused}
        if number is None and not is_drawing and not others:
            self._give_up()
        return number

    def _give_up(self) -> None:
        for number in () if self.is_leaving else self._screening.given_up():
            self._end(number, Outcome.PRUNED)

    def _decide_rungs(self) -> None:
        """Has the scheduler compare at the rungs that are given, or at those that the trials so far choose."""
        self._fidelity = selected_fidelity(self.history)
        self._signals = rung_signals(self.history)
        self._scheduler = self._scheduler_for(self.job.model_copy(update={"fidelity": self._fidelity}))
        for record in self.records:
            for measurement in record.measurements:
                self._compare(record.trial, measurement)

    def _compare(self, trial: Trial, measurement: Measurement) -> None:
        value = self._reading(measurement)
        if trial.replicate_of is None and value is not None:
            self._scheduler.reached(trial.number, measurement.iteration, value)

    def _reading(self, measurement: Measurement) -> float | None:
        """Returns what compares a trial at a rung, in the objective's direction; the metric where auto lacks a loss."""
        found = reading(self.job, self._signals.get(measurement.iteration, "metric"), measurement)
        is_auto = self.job.fidelity.prune_by == "auto"
        return reading(self.job, "metric", measurement) if found is None and is_auto else found

    def _end(self, number: int, outcome: Outcome, note: str = "") -> None:
        note = "; ".join(filter(None, (note, self._remarks.pop(number, ""))))
        self._store.ended(number, outcome, note)
        ended = datetime.now(timezone.utc)
        self._change(replace(self._records[number], outcome=outcome, ended=ended, note=note))
        is_new = self.job.fidelity.prune_by == "auto" and rung_signals(self.history) != self._signals
        if self._fidelity.rungs == "auto" or is_new:
            self._decide_rungs()

    def _change(self, record: Record) -> None:
        self._records[record.trial.number] = record
        for callback in self._callbacks:
            callback.changed(record)
