"""Shows a study's sampler the trials of earlier studies of the same space, as trials before its own.

With other images or another length, values lie on another scale. So a transferred trial keeps no value, but how good
its trial was in its own study: 0 like the default, 1 like the best, below 0 worse than the default; a pruned
one as far as it got, against the default there. The new study shows it on its own scale: default on default,
best on best, linear between and beyond. That claims only which of the earlier trials were better, not how
good they would be here. And each of the study's own trials takes the place of a transferred one, so that an earlier
study that misleads is soon forgotten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuner.errors import BadInput
from tuner.search.ask import decided
from tuner.search.samplers import evenly
from tuner.spec.job import JobSpec
from tuner.spec.space import Params, Space
from tuner.spec.trial import Outcome, Record, Value

TAKEN = 30
"""The most trials that a study takes over, and after how many trials of its own none is left."""
TRANSFERABLE = (Outcome.COMPLETED, Outcome.PRUNED)


@dataclass(frozen=True)
class TransferredTrial:
    """Holds a trial of an earlier study."""

    params: dict[str, Value]
    goodness: float
    reached: float
    """The share of the full length; 1 is completed."""


def transferred_trials(job: JobSpec, earlier: JobSpec, records: Sequence[Record]) -> list[TransferredTrial]:
    """Returns the completed and pruned trials of the earlier search that lie within the job's space.

    Raises BadInput where the earlier study is of another space or objective, or has no such trial.
    """
    if problems := list(_mismatches(job, earlier, records)):
        raise BadInput.of(
            f"search.warm_start_from of job {job.name}: study {earlier.name} does not help", *problems
        )
    search = [r for r in records if r.trial.replicate_of is None and r.outcome in TRANSFERABLE]
    gains = {record.trial.number: _gain(earlier, record, records[0]) for record in search}
    completed = [gains[r.trial.number] for r in search if r.outcome is Outcome.COMPLETED]
    unit = max(completed) or -min(completed) or 1.0
    return [
        TransferredTrial(
            params=dict(record.trial.params),
            goodness=gains[record.trial.number] / unit,
            reached=record.last.iteration / earlier.fidelity.iterations,
        )
        for record in search
        if record.last and _lies_within(job.space, record.trial.params)
    ]


def taken(found: Iterable[TransferredTrial]) -> list[dict[str, Any]]:
    """Returns the trials as a study keeps them: of many, evenly from the best to the worst."""
    ranked = sorted(found, key=lambda transferred: (-transferred.reached, -transferred.goodness))
    return [asdict(transferred) for transferred in evenly(ranked, TAKEN)]


class WarmStart:
    """Holds the transferred trials of a study, on the scale of the study's own objective."""

    def __init__(self, job: JobSpec, kept: Iterable[Mapping[str, Any]]) -> None:
        self._job = job
        self._transferred = [TransferredTrial(**each) for each in kept]

    def shown(self, own: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Returns the transferred trials that the sampler sees; each of the study's own trials displaces one."""
        completed = [t.value for t in own if t.state is TrialState.COMPLETE and t.value is not None]
        maximize = self._job.objective.direction == "maximize"
        middle = fmean(completed) if completed else 0.0
        default = own[0].intermediate_values
        best = (max if maximize else min)(completed, default=middle)
        step = (best - default.get(self._job.fidelity.iterations, middle)) or (1.0 if maximize else -1.0)
        trials = []
        for transferred in evenly(self._transferred, TAKEN - len(own)):
            rung = self._rung(transferred)
            trials.append(
                self._trial(transferred, rung, default.get(rung, middle) + transferred.goodness * step)
            )
        return trials

    def _trial(self, transferred: TransferredTrial, rung: int, value: float) -> FrozenTrial:
        trial = decided(transferred.params, self._job.space)
        trial.state = TrialState.COMPLETE if transferred.reached == 1 else TrialState.PRUNED
        trial.value, trial.intermediate_values = value, {rung: value}
        trial.datetime_complete = trial.datetime_start
        return trial

    def _rung(self, transferred: TransferredTrial) -> int:
        """Returns the last rung that the transferred trial would have reached here."""
        evaluation_points, reached = (
            self._job.fidelity.evaluation_points,
            transferred.reached * self._job.fidelity.iterations,
        )
        return max((stop for stop in evaluation_points if stop <= reached), default=evaluation_points[0])


def _mismatches(job: JobSpec, earlier: JobSpec, records: Sequence[Record]) -> Iterator[str]:
    """Yields what differs between the two spaces; ranges, choices and conditions may differ."""
    ours, theirs = job.space.parameters, earlier.space.parameters
    for name in sorted(ours.keys() ^ theirs.keys()):
        yield f"{name} is a parameter of only one of the two spaces"
    for name in sorted(ours.keys() & theirs.keys()):
        there = theirs[name]
        if (ours[name].type, set(ours[name].sets)) != (there.type, set(there.sets)):
            yield f"its parameter {name} is of type {there.type} and sets {', '.join(there.sets)}"
    its = earlier.objective
    if (its.metric, its.direction) != (job.objective.metric, job.objective.direction):
        yield f"it would {its.direction} {its.metric}"
    if not records or records[0].outcome is not Outcome.COMPLETED:
        yield "its default, to which its trials are compared, has not completed"
    elif not any(r.outcome in TRANSFERABLE and _lies_within(job.space, r.trial.params) for r in records):
        yield "none of its trials lies within this job's space"


def _gain(earlier: JobSpec, record: Record, default: Record) -> float:
    """Returns the gain over the default of the same study at the same rung; positive is better."""
    metric = earlier.objective.metric
    iteration = record.last.iteration if record.last else None
    gain = (record.value(metric) or 0.0) - (default.value(metric, iteration) or 0.0)
    return gain if earlier.objective.direction == "maximize" else -gain


def _lies_within(space: Space, params: Params) -> bool:
    drawn = {name for name in space.parameters if space.counts(name, params)}
    return (
        drawn == params.keys()
        and all(space.parameters[name].contains(value) for name, value in params.items())
        and space.allows(params)
    )
