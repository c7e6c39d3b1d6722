"""Screens and finishes: trials pause at the first rung without a GPU, and the best of them are finished later.

A paused trial has no outcome, and its checkpoint is kept. To be finished it is proposed again, as one that was
interrupted is. What is paused and what was finished follow from the records alone, so that a study goes on where it
was cut off.
"""

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from tuner.spec.trial import Outcome, Record
from tuner.study.protocols import Scheduler

Paused: TypeAlias = Literal["paused"]
PAUSED: Final = "paused"


class Screening:
    """Holds the paused trials of a study, and those that went on from the first rung."""

    def __init__(self, records: Iterable[Record], rungs: tuple[int, ...], scheduler: Scheduler) -> None:
        reached = [r for r in records if scheduler.pauses and r.measurements]
        screened = [r for r in reached if r.trial.replicate_of is None]
        self.paused = [r.trial.number for r in screened if len(rungs) > 1 and _waits(r, rungs)]
        given_up = [r.trial.number for r in screened if r.outcome is Outcome.PRUNED]
        self._finished = {r.trial.number for r in screened} - {*self.paused, *given_up}

    def went_on(self, number: int) -> None:
        """Hears that a trial reached the first rung and needs no leave to go on."""
        self._finished.add(number)

    def pause(self, number: int) -> bool:
        """Tells whether a trial that reached the first rung pauses there; one that is being finished goes on."""
        if number in self._finished:
            return False
        self.paused.append(number)
        return True

    def forget(self, number: int) -> None:
        """Takes a trial that was ended off the list."""
        if number in self.paused:
            self.paused.remove(number)

    def next_to_finish(self, scheduler: Scheduler, is_drawing: bool, is_cut_short: bool) -> int | None:
        """Takes the paused trial that is to be finished now off the list; of a search cut short only the default."""
        number = scheduler.to_finish(self.paused, self._finished, is_drawing)
        if is_cut_short:
            number = 0 if 0 in self.paused else None
        if number is not None:
            self.paused.remove(number)
            self._finished.add(number)
        return number

    def given_up(self) -> list[int]:
        """Takes those off the list that never will be finished; the default stays, to be finished by who resumes."""
        others = [number for number in self.paused if number]
        self.paused = [number for number in self.paused if not number]
        return others


def _waits(record: Record, rungs: tuple[int, ...]) -> bool:
    return record.outcome is None and record.last is not None and record.last.iteration <= rungs[0]
