"""Turns what a study knows into MLflow's params, metrics and times."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from math import isfinite, log10
from statistics import fmean, stdev

from mlflow.entities import Metric, Param

from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Record, Value
from tuner.study.history import History
from tuner.tracking.leaderboard import TRAIN_LOSS, log_name, log_parameters, mean_and_deviation, safe_name
from tuner.tracking.report.comparison import CLASS
from tuner.tracking.report.spending import hours, unit


def facts(job: JobSpec) -> dict[str, str]:
    """Returns what stays the same as long as the study lives: MLflow's params cannot be changed."""
    return {
        "config": job.config.name,
        "objective": job.objective.text,
        "iterations": str(job.fidelity.iterations),
        "rungs": job.fidelity.rungs_text,
        "prune_by": job.fidelity.prune_by,
        "schedule": job.fidelity.schedule,
        "global_batch": str(job.resources.global_batch),
        "sampler": job.search.sampler,
        "scheduler": job.search.scheduler,
        "seed": str(job.seed),
    }


def params(record: Record) -> list[Param]:
    values = {**record.trial.params, "seed": record.trial.seed}
    return [Param(safe_name(name), _text(value)) for name, value in values.items()]


def metrics(job: JobSpec, record: Record, measurement: Measurement, start: int) -> list[Metric]:
    """Returns the metrics of a rung and the losses before it; `start` is the trial's, in milliseconds."""
    values = {safe_name(name): value for name, value in measurement.metrics.items()}
    values |= {f"system/{name}": value for name, value in measurement.system_metrics.items()}
    values[unit(job)] = measurement.seconds / 3600 * (job.resources.gpus_per_trial or 1)
    if measurement is record.measurements[0]:
        values |= _logarithms(job, record)
    at = start + round(measurement.seconds * 1000)
    shown = [Metric(name, readable(value), at, measurement.iteration) for name, value in values.items()]
    pace = measurement.seconds * 1000 / measurement.iteration
    losses = [
        Metric(TRAIN_LOSS, readable(loss), start + round(pace * iteration), int(iteration))
        for iteration, loss in measurement.losses
    ]
    return [*shown, *losses]


def study_metrics(history: History) -> list[Metric]:
    """Returns how a study went: after every trial that ended, the best so far and what all had cost."""
    job, metric = history.job, history.job.objective.metric
    ended = _in_order(history.records)
    found, spent, best = [], 0.0, None
    for step, record in enumerate(ended, 1):
        at, spent = milliseconds(record.ended), spent + hours(job, record)
        values = {"trials ended": float(step), unit(job): spent}
        if record.outcome is Outcome.COMPLETED and record.trial.replicate_of is None:
            best = record if best is None or history.score(record) > history.score(best) else best
        if best:
            values[safe_name(f"best.{metric}")] = best.value(metric) or 0.0
        found += [Metric(name, readable(value), at, step) for name, value in values.items()]
    return found


def spreads(history: History) -> dict[int, list[Metric]]:
    """Returns by a trial's number its mean and standard deviation over as many seeds as there are, and were."""
    groups: dict[int, list[Record]] = {0: history.search[:1]}
    for record in _in_order(history.records):
        if record.trial.replicate_of is not None:
            groups.setdefault(record.trial.replicate_of, []).append(record)
    return {number: list(_spread(history.job, records)) for number, records in groups.items()}


def _spread(job: JobSpec, records: Sequence[Record]) -> Iterator[Metric]:
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    values = [record.value(job.objective.metric) or 0.0 for record in completed]
    for seeds in range(2, len(values) + 1):
        known = values[:seeds]
        names = (*mean_and_deviation(job), "seeds")
        at = milliseconds(completed[seeds - 1].ended)
        for name, value in zip(names, (fmean(known), stdev(known), seeds), strict=True):
            yield Metric(name, readable(value), at, seeds)


def class_table(record: Record) -> dict[str, list[object]]:
    """Returns the columns of a table of the classes; nothing of a trial that was never measured."""
    known = record.last.metrics if record.last else {}
    rows = [
        (name.removeprefix(CLASS), readable(iou)) for name, iou in known.items() if name.startswith(CLASS)
    ]
    return {"class": [name for name, _ in rows], "IoU": [iou for _, iou in rows]} if rows else {}


def readable(value: float) -> float:
    """Rounds a number to what a person reads; the study keeps it whole."""
    if not isfinite(value):
        return value
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def milliseconds(moment: datetime | None) -> int:
    """Returns the moment, by default now, in milliseconds."""
    return round((moment.timestamp() if moment else time.time()) * 1000)


def _logarithms(job: JobSpec, record: Record) -> dict[str, float]:
    known = {name: record.trial.params.get(name) for name in log_parameters(job)}
    return {log_name(name): log10(value) for name, value in known.items() if isinstance(value, int | float)}


def _in_order(records: Sequence[Record]) -> list[Record]:
    """Lists those that ended, as they did; trials may begin and end in different orders."""
    ended = [(record.ended.timestamp(), record.trial.number, record) for record in records if record.ended]
    return [record for _, _, record in sorted(ended, key=lambda each: each[:2])]


def _text(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
