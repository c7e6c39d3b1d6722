"""Counts what a study has cost, by outcome, and what its rungs saved."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from scipy.stats import kendalltau

from tuner.spec.job import JobSpec
from tuner.spec.pruning_signal import Signal, reading
from tuner.spec.trial import Outcome, Record
from tuner.study.rung_selection import RungSelection, rung_selection, rung_signals, signal_selection
from tuner.tracking.report.sources import Sources

SIGNALS: dict[Signal, str] = {"loss": "training loss", "val_loss": "validation loss"}


@dataclass(frozen=True)
class Spent:
    """Holds the trials of one outcome and the hours that they held their GPUs."""

    what: str
    trials: int
    hours: float
    share: float
    """The share of all hours, 0 … 1."""


@dataclass(frozen=True)
class Lost:
    """Says what interruptions have cost: training that was thrown away, and done again from a checkpoint."""

    trials: int
    hours: float


@dataclass(frozen=True)
class RungWorth:
    """Says what comparing at a rung was worth."""

    iteration: int
    compared_by: str
    """The signal that compared trials there, or why none did."""
    reached: int
    stopped: int
    saved: float
    """Hours that the trials stopped there would have cost more."""
    tau: float | None
    """Kendall's rank correlation of that signal with the end."""
    low: float | None
    high: float | None


def unit(job: JobSpec) -> str:
    return "GPU-hours" if job.resources.gpus_per_trial else "hours"


@dataclass(frozen=True)
class Scale:
    """Says in which unit a study's costs are shown: in minutes what was less than an hour in all."""

    unit: str
    factor: float
    """Hours are multiplied by it."""


def scale(sources: Sources) -> Scale:
    what = unit(sources.job)
    if _sum(sources.job, sources.records) >= 1:
        return Scale(what, 1.0)
    return Scale(what.replace("hours", "minutes"), 60.0)


def amount(job: JobSpec, spent: float) -> str:
    """Says hours with their unit; less than a tenth of one in minutes, less than one of these in seconds."""
    what = unit(job)
    if spent >= 0.1:
        return f"{spent:.3g} {what}"
    if spent == 0 or spent >= 1 / 60:
        return f"{60 * spent:.3g} {what.replace('hours', 'minutes')}"
    return f"{3600 * spent:.3g} {what.replace('hours', 'seconds')}"


def hours(job: JobSpec, record: Record) -> float:
    """Returns the hours that a trial held its GPUs; on CPUs, those that it trained."""
    seconds = record.last.seconds if record.last else _lifetime(record)
    return seconds / 3600 * (job.resources.gpus_per_trial or 1)


def spent(sources: Sources) -> list[Spent]:
    """Returns the hours by outcome, replicates apart; the sum comes last."""
    groups: dict[str, list[Record]] = {}
    for record in sources.records:
        groups.setdefault(_group(record), []).append(record)
    total = _sum(sources.job, sources.records)
    rows = [
        Spent(what, len(records), (own := _sum(sources.job, records)), own / total if total else 0.0)
        for what, records in sorted(groups.items(), key=lambda each: -_sum(sources.job, each[1]))
    ]
    return [*rows, Spent("all", len(sources.records), total, 1.0)] if rows else []


def lost(sources: Sources) -> Lost:
    """Returns the hours that interruptions threw away; they are none of those that trials are said to have cost."""
    gpus = sources.job.resources.gpus_per_trial or 1
    seconds = [each.last.seconds_lost for each in sources.records if each.last and each.last.seconds_lost]
    return Lost(len(seconds), sum(seconds) / 3600 * gpus)


def rung_worths(sources: Sources) -> list[RungWorth]:
    """Returns what every rung below the end was worth; of all candidates where the study chooses its rungs."""
    job = sources.job
    chosen, signals = _chosen(sources), rung_signals(sources.history)
    intervals = {each.iteration: each for each in chosen.candidates} if chosen else {}
    full = fmean([hours(job, each) for each in sources.completed] or [0.0])
    found = []
    for iteration in job.fidelity.evaluation_points[:-1]:
        reached = [r for r in sources.history.search if r.last and r.last.iteration >= iteration]
        stopped = [
            r for r in reached if r.outcome is Outcome.PRUNED and r.last and r.last.iteration == iteration
        ]
        saved = sum(max(0.0, full - hours(job, record)) for record in stopped)
        known = intervals.get(iteration)
        signal = signals[iteration]
        tau = known.tau if known else _correlation(sources, iteration, signal)
        bounds = (known.low, known.high) if known else (None, None)
        by = _comparison(job, chosen, iteration, signal)
        found.append(RungWorth(iteration, by, len(reached), len(stopped), saved, tau, *bounds))
    return found


def _chosen(sources: Sources) -> RungSelection | None:
    """Returns what the study has found out of its rungs, where it chooses them or their signals."""
    return rung_selection(sources.history) or signal_selection(sources.history)


def _comparison(job: JobSpec, chosen: RungSelection | None, iteration: int, signal: Signal) -> str:
    if job.search.scheduler == "none":
        return "not compared"
    if job.fidelity.rungs == "auto" and (chosen is None or iteration not in chosen.rungs):
        return "not chosen yet" if chosen is None else "left out"
    return SIGNALS.get(signal, job.objective.metric)


def _correlation(sources: Sources, iteration: int, signal: Signal) -> float | None:
    """Correlates a signal with the end over the trials that completed; None of fewer than three."""
    job = sources.job
    pairs = [
        (reading(job, signal, measurement), record.value(job.objective.metric))
        for record in sources.completed
        for measurement in record.measurements
        if measurement.iteration == iteration
    ]
    known = [(there, end) for there, end in pairs if there is not None and end is not None]
    if len(known) < 3:
        return None
    tau = float(kendalltau(*zip(*known, strict=True)).statistic)
    return tau if isfinite(tau) else None


def _group(record: Record) -> str:
    if record.trial.replicate_of is not None:
        return "replicates"
    return record.outcome.value if record.outcome else "unfinished"


def _sum(job: JobSpec, records: Iterable[Record]) -> float:
    return sum(hours(job, record) for record in records)


def _lifetime(record: Record) -> float:
    """Returns the seconds between beginning and end of a trial that was never measured."""
    if record.started is None or record.ended is None:
        return 0.0
    return record.ended.timestamp() - record.started.timestamp()
