"""What a trial is, what is measured of it and how it ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, TypeAlias

Value: TypeAlias = bool | int | float | str
Config: TypeAlias = dict[str, Any]
"""The contents of an mmseg config."""


class Outcome(str, Enum):
    """How a trial ended."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    OUT_OF_MEMORY = "out of memory"
    DIVERGED = "diverged"
    CRASHED = "crashed"

    @property
    def failed(self) -> bool:
        return self in (Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.CRASHED)


@dataclass(frozen=True)
class Measurement:
    """The metrics of one evaluation."""

    iteration: int
    metrics: Mapping[str, float]
    """mIoU, mAcc, aAcc and IoU.<class> in percent; loss is the mean since the last evaluation."""
    seconds: float
    """Training and evaluation, from the trial's first iteration, without interruptions."""
    conditions: Mapping[str, float] = field(default_factory=dict, compare=False)
    """How it was trained since the last one, which says nothing of how well: pictures_per_second,
    data_wait_percentage, pictures_at_once, accumulation, …; see training/conditions.py."""


@dataclass(frozen=True)
class Swept:
    """What weights are worth at another number of centers: these have no parameters."""

    stage: int | None
    """The one stage, from 1, that has so many while the others keep their own; None for all stages."""
    centers: int
    metrics: Mapping[str, float]
    """As a measurement's, without the loss."""
    pictures_per_second: float
    """Of the whole evaluation, loading included."""


@dataclass(frozen=True)
class Trial:
    """One training with one drawing of the parameters and one seed."""

    number: int
    params: Mapping[str, Value]
    seed: int
    repeats: int | None = None
    """The number of the trial that is trained again with another seed; None in the search."""


@dataclass(frozen=True)
class Record:
    """A trial and all that the study knows of it."""

    trial: Trial
    outcome: Outcome | None
    """None while the trial runs, or was interrupted and waits to go on."""
    measurements: tuple[Measurement, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None
    note: str = ""
    """Why it failed."""

    @property
    def last(self) -> Measurement | None:
        return self.measurements[-1] if self.measurements else None

    def value(self, metric: str, iteration: int | None = None) -> float | None:
        """The metric at an iteration, or of the last measurement."""
        if iteration is None:
            return self.last.metrics.get(metric) if self.last else None
        return next((m.metrics.get(metric) for m in self.measurements if m.iteration == iteration), None)


@dataclass(frozen=True)
class Place:
    """Where one rank of a gang trains."""

    rank: int = 0
    ranks: int = 1
    device: str = "cpu"
    """As torch spells it: `cpu` or `cuda:0`."""
