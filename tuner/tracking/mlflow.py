"""MLflow's picture of a study: an experiment of the job's name, a run for it, and a child run for each trial.

It is a projection of the study's records and can be drawn again at any time. What is written twice is the
same twice: metrics carry the trial's own clock, and the tag `outcome` is written last, so that a child whose
tag agrees with its record is complete.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tuner.job import JobSpec
from tuner.pace import slowed
from tuner.race import best, judged
from tuner.tracking.dashboard import VIEW_TAG, description, is_server, leaderboard, safe_name
from tuner.trial import Measurement, Outcome, Record

AWAY = (MlflowException, OSError, SQLAlchemyError)
"""What MLflow's client raises when its server or database does not answer."""
SHORT_WAITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
STUDY, TRIAL, OUTCOME, NOTE = "tuner.study", "tuner.trial", "outcome", "note"
SLOWED = "slowed by its node"
PARENT, TEXT = "mlflow.parentRunId", "mlflow.note.content"
RUNNING, INTERRUPTED = "running", "interrupted"
STATUS = {
    RUNNING: "RUNNING",
    INTERRUPTED: "KILLED",
    Outcome.COMPLETED.value: "FINISHED",
    Outcome.PRUNED.value: "KILLED",
    Outcome.OUT_OF_MEMORY.value: "FAILED",
    Outcome.DIVERGED.value: "FAILED",
    Outcome.CRASHED.value: "FAILED",
}

ConfigText = Callable[[int], str | None]
"""The resolved config of a trial, None as long as there is none."""

logger = logging.getLogger(__name__)


class MlflowTracker:
    """A study.Watcher that no absence of MLflow stops: what it missed is made good at the next change."""

    def __init__(
        self, uri: str, artifacts: Path, job: JobSpec, study_id: str, config_text: ConfigText
    ) -> None:
        self._uri = uri
        self._artifacts = artifacts
        self._job = job
        self._study_id = study_id
        self._config_text = config_text
        self._runs: StudyRuns | None = None
        self._missed: dict[int, Record] = {}
        self._away = False

    def begin(self, records: Iterable[Record]) -> None:
        with self._undisturbed():
            self._catch_up(records)

    def changed(self, record: Record) -> None:
        with self._undisturbed():
            self._catch_up([record])

    def end(self, records: Iterable[Record], *, finished: bool) -> None:
        """`finished` is false when the study was interrupted and waits to go on."""
        shown = list(records)
        with self._undisturbed():
            self._catch_up(shown).close(shown, finished=finished)

    def _catch_up(self, records: Iterable[Record]) -> "StudyRuns":
        self._missed |= {record.trial.number: record for record in records}
        self._runs = self._runs or self._open()
        for number in sorted(self._missed):
            self._runs.write(self._missed[number], self._config_text(number))
            del self._missed[number]
        return self._runs

    def _open(self) -> "StudyRuns":
        for name, value in SHORT_WAITS.items():
            os.environ.setdefault(name, value)
        client = MlflowClient(self._uri)
        artifacts = None if is_server(self._uri) else self._artifacts.resolve().as_uri()
        return StudyRuns(client, _experiment(client, self._job.name, artifacts), self._job, self._study_id)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        try:
            yield
        except AWAY as error:
            if not self._away:
                reason = str(error).partition("\n")[0]
                logger.warning("MLflow does not answer; the search goes on and is shown later: %s", reason)
            self._away, self._runs = True, None
        else:
            self._away = False


@dataclass
class Child:
    """The run of a trial."""

    run_id: str
    start: int
    """Milliseconds; the zero of its metrics' clock."""
    outcome: str = ""
    iteration: int = 0
    """Of the last measurement that is known to be written."""
    config: str | None = None
    """That is known to be written: short of memory, a trial's changes."""


class StudyRuns:
    """The runs of one study: those that are there already, and those to come. Raises AWAY."""

    def __init__(self, client: MlflowClient, experiment: str, job: JobSpec, study_id: str) -> None:
        self._client = client
        self._experiment = experiment
        self._job = job
        self._study_id = study_id
        runs = client.search_runs([experiment], f"tags.`{STUDY}` = '{study_id}'", max_results=50_000)
        self._children = {int(run.data.tags[TRIAL]): _child(run) for run in runs if TRIAL in run.data.tags}
        self._parent = self._open_parent([run for run in runs if TRIAL not in run.data.tags])
        self._describe()

    def write(self, record: Record, config: str | None) -> None:
        number = record.trial.number
        if number not in self._children:
            self._children[number] = self._create(record)
        child = self._children[number]
        if record.outcome and child.outcome == record.outcome.value:
            return
        self._write_measurements(child, record)
        if config is not None and child.config != config:
            self._client.log_text(child.run_id, config, "config.py")
            child.config = config
        if record.note:
            self._client.set_tag(child.run_id, NOTE, record.note)
        self._set_outcome(child, record.outcome.value if record.outcome else RUNNING, record.ended)

    def close(self, records: Iterable[Record], *, finished: bool) -> None:
        """Leaves no run RUNNING."""
        for record in records:
            if record.outcome is None:
                self._set_outcome(self._children[record.trial.number], INTERRUPTED)
        for number in slowed(records):
            self._client.set_tag(self._children[number].run_id, SLOWED, "true")
        metric = self._job.objective.metric
        if first := best(self._job, records):
            self._client.log_metric(self._parent, safe_name(f"best.{metric}"), first.value(metric) or 0.0)
            self._client.set_tag(self._parent, "best trial", str(first.trial.number))
        if found := judged(self._job, records):
            self._client.set_tag(self._parent, "verdict", found.ruling)
        self._client.set_terminated(self._parent, "FINISHED" if finished else "KILLED")

    def _open_parent(self, found: list[Run]) -> str:
        tags = {STUDY: self._study_id}
        run = found[0] if found else self._client.create_run(self._experiment, None, tags, self._job.name)
        run_id: str = run.info.run_id
        facts = {key: value for key, value in _facts(self._job).items() if key not in run.data.params}
        params = [Param(key, value) for key, value in facts.items()]
        budget = [
            RunTag(f"budget.{key}", f"{value:g}") for key, value in self._job.budget if value is not None
        ]
        self._client.log_batch(run_id, params=params, tags=budget)
        self._client.update_run(run_id, STATUS[RUNNING])
        return run_id

    def _describe(self) -> None:
        view = json.dumps(leaderboard(self._job, self._parent))
        self._client.set_experiment_tag(self._experiment, VIEW_TAG, view)
        self._client.set_experiment_tag(self._experiment, TEXT, description(self._job))

    def _create(self, record: Record) -> Child:
        number, start = record.trial.number, _milliseconds(record.started)
        tags = {STUDY: self._study_id, TRIAL: str(number), PARENT: self._parent}
        name = f"trial {number}" if number else "trial 0 (default)"
        if record.trial.repeats is not None:
            name += f" ({record.trial.repeats} again)"
            tags["repeats"] = str(record.trial.repeats)
        run = self._client.create_run(self._experiment, start, tags, name)
        return Child(run.info.run_id, start)

    def _write_measurements(self, child: Child, record: Record) -> None:
        params = {**record.trial.params, "seed": record.trial.seed}
        entries = [Param(safe_name(name), str(value)) for name, value in params.items()]
        self._client.log_batch(child.run_id, params=entries)
        for measurement in record.measurements:
            if measurement.iteration > child.iteration:
                self._client.log_batch(child.run_id, metrics=_metrics(measurement, child.start))
                child.iteration = measurement.iteration

    def _set_outcome(self, child: Child, outcome: str, ended: datetime | None = None) -> None:
        if child.outcome == outcome:
            return
        if outcome == RUNNING:
            self._client.update_run(child.run_id, STATUS[outcome])
        else:
            self._client.set_terminated(child.run_id, STATUS[outcome], _milliseconds(ended))
        self._client.set_tag(child.run_id, OUTCOME, outcome)
        child.outcome = outcome


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifacts))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _child(run: Run) -> Child:
    return Child(run.info.run_id, run.info.start_time, run.data.tags.get(OUTCOME, ""))


def _facts(job: JobSpec) -> dict[str, str]:
    """What stays the same as long as the study lives: MLflow's params cannot be changed."""
    return {
        "config": job.config.name,
        "objective": job.objective.text,
        "iterations": str(job.fidelity.iterations),
        "rungs": job.fidelity.rungs_text,
        "schedule": job.fidelity.schedule,
        "global_batch": str(job.resources.global_batch),
        "sampler": job.search.sampler,
        "scheduler": job.search.scheduler,
        "seed": str(job.seed),
    }


def _metrics(measurement: Measurement, start: int) -> list[Metric]:
    timestamp = start + round(measurement.seconds * 1000)
    values = {safe_name(name): value for name, value in measurement.metrics.items()}
    values |= {f"system/{name}": value for name, value in measurement.conditions.items()}
    return [Metric(name, value, timestamp, measurement.iteration) for name, value in values.items()]


def _milliseconds(moment: datetime | None) -> int:
    return round((moment.timestamp() if moment else time.time()) * 1000)
