"""Says what a study needs of its surroundings: a store, a scheduler and whoever listens."""

from collections.abc import Collection, Sequence
from typing import Protocol

from tuner.spec.trial import Measurement, Outcome, Record, Trial


class Store(Protocol):
    """Keeps the study; it is the only truth about it."""

    def records(self) -> list[Record]: ...
    def draw(self) -> Trial: ...
    def replicate(self, number: int, seed: int) -> Trial: ...
    def measured(self, number: int, measurement: Measurement) -> None: ...
    def ended(self, number: int, outcome: Outcome, note: str) -> None: ...


class Scheduler(Protocol):
    """Decides which trials continue at a rung."""

    pauses: bool
    """True where a trial that does not continue pauses and may be finished later; else it is pruned."""

    def reached(self, number: int, iteration: int, value: float) -> None:
        """Hears that a trial of the search has this objective at a rung."""

    def should_continue(self, number: int, iteration: int) -> bool:
        """Tells whether a trial that reached the rung may continue to the next one."""

    def to_finish(self, paused: Sequence[int], finished: Collection[int], is_drawing: bool) -> int | None:
        """Returns the paused trial to be finished now, given those that went on and whether more will be drawn."""


class Callback(Protocol):
    """Hears of every change of a trial: MLflow, the terminal, the retention of checkpoints."""

    def changed(self, record: Record) -> None: ...
