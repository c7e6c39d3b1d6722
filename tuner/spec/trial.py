"""Defines a trial, what is measured of it and how it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any, TypeAlias

from tuner.errors import (
    CorruptImage,
    Crashed,
    Died,
    Diverged,
    Hung,
    NcclFailed,
    NeedsFreshProcess,
    NoGpu,
    OutOfMemory,
    SickGpu,
    TrialFailed,
)

Value: TypeAlias = bool | int | float | str
Config: TypeAlias = dict[str, Any]
"""The contents of an mmseg config."""


class Outcome(str, Enum):
    """Says how a trial ended."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    OUT_OF_MEMORY = "out of memory"
    DIVERGED = "diverged"
    CRASHED = "crashed"

    @property
    def failed(self) -> bool:
        return self in (Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.CRASHED)


OUTCOMES: Mapping[type[TrialFailed], Outcome] = {
    OutOfMemory: Outcome.OUT_OF_MEMORY,
    Diverged: Outcome.DIVERGED,
    Crashed: Outcome.CRASHED,
    CorruptImage: Outcome.CRASHED,
    NoGpu: Outcome.CRASHED,
    NeedsFreshProcess: Outcome.CRASHED,
    Died: Outcome.CRASHED,
    Hung: Outcome.CRASHED,
    SickGpu: Outcome.CRASHED,
    NcclFailed: Outcome.CRASHED,
}
"""The outcome of a trial that raised one of these."""


@dataclass(frozen=True)
class Measurement:
    """Holds the metrics of one evaluation."""

    iteration: int
    metrics: Mapping[str, float]
    """mIoU, mAcc, aAcc and IoU.<class> in percent; loss is the mean since the last evaluation."""
    seconds: float
    """Training and evaluation, from the trial's first iteration, without interruptions."""
    system_metrics: Mapping[str, float] = field(default_factory=dict, compare=False)
    """The speed and resources of the training since the last evaluation: images_per_second,
    data_wait_percentage, images_at_once, accumulation, …; see training/system_metrics.py."""
    losses: Sequence[Sequence[float]] = field(default=(), compare=False)
    """The loss curve since the last evaluation: pairs of an iteration and the mean loss up to it."""
    seconds_lost: float = field(default=0.0, compare=False)
    """Training and evaluation that interruptions have thrown away so far: no checkpoint held it, nor do `seconds`."""

    def failure(self, metric: str) -> tuple[Outcome, str] | None:
        """Returns how a trial that was measured so failed: without the metric, or with one that is no finite number."""
        value = self.metrics.get(metric)
        if value is None:
            known = ", ".join(name for name in self.metrics if "." not in name)
            return Outcome.CRASHED, f"the evaluation has no {metric}: it has {known}"
        if not isfinite(value):
            return Outcome.DIVERGED, f"{metric} {value} at iteration {self.iteration}"
        return None


@dataclass(frozen=True)
class Swept:
    """Holds the metrics of one set of weights at another number of centers."""

    stage: int | None
    """The one stage, from 1, that has this number while the others keep their own; None for all stages."""
    centers: int
    metrics: Mapping[str, float]
    """The metrics as in a measurement, without the loss."""
    images_per_second: float
    """The speed of the whole evaluation, loading included."""


@dataclass(frozen=True)
class Trial:
    """Names one training: one drawing of the parameters and one seed."""

    number: int
    params: Mapping[str, Value]
    seed: int
    replicate_of: int | None = None
    """The number of the trial that is trained again with another seed; None in the search."""


@dataclass(frozen=True)
class Record:
    """Holds a trial and everything that the study knows of it."""

    trial: Trial
    outcome: Outcome | None
    """The outcome; None while the trial runs, or was interrupted and waits to continue."""
    measurements: tuple[Measurement, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None
    note: str = ""
    """The reason for its failure."""

    @property
    def last(self) -> Measurement | None:
        return self.measurements[-1] if self.measurements else None

    def value(self, metric: str, iteration: int | None = None) -> float | None:
        """Returns the metric at an iteration, or of the last measurement."""
        if iteration is None:
            return self.last.metrics.get(metric) if self.last else None
        return next((m.metrics.get(metric) for m in self.measurements if m.iteration == iteration), None)


@dataclass(frozen=True)
class RankInfo:
    """Says where one rank of a gang trains."""

    rank: int = 0
    ranks: int = 1
    device: str = "cpu"
    """The device as torch spells it: `cpu` or `cuda:0`."""
