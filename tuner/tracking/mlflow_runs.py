"""Draws a study in MLflow: an experiment of the job's name, a run for it, a run below it for each trial.

A replicate's run lies below that of the trial that it repeats. It is a projection of the study's records and can be
drawn again at any time. What is written twice is the same twice: metrics carry the trial's own clock, and the tag
`outcome` is written last, so that a child whose tag agrees with its record is complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from tuner.spec.trial import Outcome, Record
from tuner.study.replication import best, is_over, judged
from tuner.tracking.leaderboard import GROUP, REPORT, SEEDS, STUDY, TRAINING, VIEW_KEY, views
from tuner.tracking.mlflow_artifacts import (
    LEGEND,
    Written,
    legend,
    shown_strips,
    write_changes,
    write_config,
    write_ended,
    write_images,
    written,
)
from tuner.tracking.mlflow_values import facts, metrics, milliseconds, params, spreads, study_metrics
from tuner.tracking.report import page
from tuner.tracking.report.failures import failure_note
from tuner.tracking.report.markdown import escaped
from tuner.tracking.report.sentences import headline
from tuner.tracking.report.sources import Sources
from tuner.tracking.report.strips import read_strips
from tuner.tracking.stragglers import stragglers

TRIAL, OUTCOME, NOTE = "tuner.trial", "outcome", "note"
STRAGGLER = "slowed by its node"
PARENT, TEXT = "mlflow.parentRunId", "mlflow.note.content"
LONGEST_NOTE = 7900
"""Letters of a tag that MLflow keeps whole."""
CLASSES_IN_NOTE = 12
MOST_METRICS = 1000
"""Metrics that one request may hold."""
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


@dataclass
class Child:
    """Holds what is known to be written of a trial's run."""

    run_id: str
    start: int
    """Milliseconds; the zero of its metrics' clock."""
    outcome: str
    iteration: int = 0
    """The iteration of the last measurement."""
    note: str = ""
    is_slowed: bool = False
    files: Written | None = None
    """Unknown until it is asked for."""

    def agrees(self, record: Record) -> bool:
        return record.outcome is not None and self.outcome == record.outcome.value


@dataclass
class _Parent:
    run_id: str
    points: int = 0
    """The metrics over time that are written."""
    seeds: dict[int, int] = field(default_factory=dict)
    """The metrics over seeds that are written, by the trial's number."""


class StudyRuns:
    """Writes the runs of one study: those that are there already, and those to come.

    Raises what MLflow's client does.
    """

    def __init__(self, client: MlflowClient, experiment: str, study_id: str, sources: Sources) -> None:
        self._client, self._experiment, self._study_id = client, experiment, study_id
        self._job = sources.job
        runs = client.search_runs([experiment], f"tags.`{STUDY}` = '{study_id}'", max_results=50_000)
        self._children = {int(run.data.tags[TRIAL]): _child(run) for run in runs if TRIAL in run.data.tags}
        self._parent = _Parent(self._open_parent([run for run in runs if TRIAL not in run.data.tags]))
        for name, view in views(self._job, study_id, self._parent.run_id).items():
            client.set_experiment_tag(experiment, name, view)
        self._describe(sources)

    def write(self, sources: Sources) -> None:
        """Brings all runs up to date but the report, which takes longer to draw."""
        for record in sources.records:
            child = self._child(record)
            if not child.agrees(record):
                self._write_trial(child, record, sources)
        for number, points in spreads(sources.history).items():
            new = points[self._parent.seeds.get(number, 0) :]
            if number in self._children and new:
                self._log(self._children[number].run_id, new)
                self._parent.seeds[number] = len(points)
        points = study_metrics(sources.history)
        if new := points[self._parent.points :]:
            self._log(self._parent.run_id, new)
            self._parent.points = len(points)

    def report(self, sources: Sources) -> None:
        """Draws the report and what is said of the study again."""
        run_id, now = self._parent.run_id, sources.latest
        self._client.log_text(run_id, page.html(sources, now), REPORT)
        note = page.markdown(sources, now, CLASSES_IN_NOTE)
        self._client.set_tag(run_id, TEXT, _cut(note))
        if first := best(sources.history):
            self._client.set_tag(run_id, "best trial", str(first.trial.number))
        if found := judged(sources.history):
            self._client.set_tag(run_id, "verdict", found.ruling)
        if classes := read_strips(sources.folder(0), None).classes:
            self._client.log_image(run_id, legend(classes), artifact_file=LEGEND)
        self._describe(sources)

    def close(self, sources: Sources) -> None:
        """Leaves no run RUNNING, and none without what later trials made known of it."""
        slowed = stragglers(sources.records)
        for record in sources.records:
            child, number = self._children[record.trial.number], record.trial.number
            if record.outcome is None:
                self._set_outcome(child, INTERRUPTED)
            else:
                known = child.files or Written(set(), set())
                write_changes(self._client, child.run_id, sources.folder(number), sources.folder(0), known)
            self._set_slowed(child, is_slowed=number in slowed)
        self._client.set_terminated(
            self._parent.run_id,
            "FINISHED" if is_over(sources.history) else "KILLED",
            milliseconds(sources.latest),
        )

    def _open_parent(self, found: list[Run]) -> str:
        tags = {STUDY: self._study_id}
        run = found[0] if found else self._client.create_run(self._experiment, None, tags, self._job.name)
        run_id: str = run.info.run_id
        missing = {key: value for key, value in facts(self._job).items() if key not in run.data.params}
        entries = [Param(key, value) for key, value in missing.items()]
        budget = [
            RunTag(f"budget.{key}", f"{value:g}") for key, value in self._job.budget if value is not None
        ]
        self._client.log_batch(run_id, params=entries, tags=budget)
        self._client.update_run(run_id, STATUS[RUNNING])
        return run_id

    def _describe(self, sources: Sources) -> None:
        """Sets the experiment's note: its first line stands above the list of runs."""
        sentence = escaped(headline(sources.history).sentence)
        job, where = self._job, f"#/experiments/{self._experiment}/runs"
        note = (
            f"**{sentence}**\n\n"
            f"Search of {', '.join(map(escaped, job.space.parameters))} for {escaped(job.config.name)}: "
            f"{job.budget.trials} trials, {escaped(job.objective.text)}. "
            f"[Report]({where}/{self._parent.run_id}/artifacts/{REPORT}?{TRAINING}), "
            f"[mean and spread over seeds]({where}?{TRAINING}&{VIEW_KEY}={SEEDS}).\n\n"
            "A run is a trial; `outcome` says how it ended; replicates lie below the trial that they repeat. "
            f"`tuner dashboard {job.name}` opens the report and the leaderboard."
        )
        self._client.set_experiment_tag(self._experiment, TEXT, note)

    def _child(self, record: Record) -> Child:
        number, repeated = record.trial.number, record.trial.replicate_of
        if number not in self._children:
            parent = self._parent.run_id if repeated is None else self._children[repeated].run_id
            start = milliseconds(record.started)
            tags = {STUDY: self._study_id, TRIAL: str(number), PARENT: parent, OUTCOME: RUNNING}
            tags[GROUP] = f"trial {number if repeated is None else repeated}"
            name = f"trial {number}" if number else "trial 0 (default)"
            if repeated is not None:
                name += f" ({repeated} again)"
                tags["replicate_of"] = str(repeated)
            run = self._client.create_run(self._experiment, start, tags, name)
            self._children[number] = Child(run.info.run_id, start, RUNNING, files=Written(set(), set()))
        return self._children[number]

    def _write_trial(self, child: Child, record: Record, sources: Sources) -> None:
        client, folder = self._client, sources.folder(record.trial.number)
        self._write_measurements(child, record)
        child.files = child.files or written(client, child.run_id)
        write_config(client, child.run_id, folder, child.files)
        strips = shown_strips(self._job, record, folder)
        write_images(client, child.run_id, strips, folder, child.start, child.files)
        if record.outcome:
            write_ended(client, child.run_id, record, folder, sources.folder(0), child.files)
        if record.note and record.note != child.note:
            client.set_tag(child.run_id, NOTE, record.note)
        if text := failure_note(self._job, record):
            client.set_tag(child.run_id, TEXT, text)
        self._set_outcome(child, record.outcome.value if record.outcome else RUNNING, record.ended)

    def _write_measurements(self, child: Child, record: Record) -> None:
        new = [each for each in record.measurements if each.iteration > child.iteration]
        found = [point for each in new for point in metrics(self._job, record, each, child.start)]
        if child.iteration == 0:
            self._client.log_batch(child.run_id, found[:MOST_METRICS], params(record))
            found = found[MOST_METRICS:]
        self._log(child.run_id, found)
        child.iteration = new[-1].iteration if new else child.iteration

    def _log(self, run_id: str, points: Sequence[Metric]) -> None:
        for first in range(0, len(points), MOST_METRICS):
            self._client.log_batch(run_id, points[first : first + MOST_METRICS])

    def _set_outcome(self, child: Child, outcome: str, ended: datetime | None = None) -> None:
        if child.outcome == outcome:
            return
        if outcome == RUNNING:
            self._client.update_run(child.run_id, STATUS[outcome])
        else:
            self._client.set_terminated(child.run_id, STATUS[outcome], milliseconds(ended))
        self._client.set_tag(child.run_id, OUTCOME, outcome)
        child.outcome = outcome

    def _set_slowed(self, child: Child, *, is_slowed: bool) -> None:
        if is_slowed and not child.is_slowed:
            self._client.set_tag(child.run_id, STRAGGLER, "true")
        if child.is_slowed and not is_slowed:
            self._client.delete_tag(child.run_id, STRAGGLER)
        child.is_slowed = is_slowed


def _cut(note: str) -> str:
    """Returns as many whole lines as MLflow keeps."""
    if len(note) <= LONGEST_NOTE:
        return note
    return f"{note[:LONGEST_NOTE].rpartition(chr(10))[0]}\n\n{REPORT} has all of it."


def _child(run: Run) -> Child:
    tags = run.data.tags
    start = run.info.start_time
    return Child(run.info.run_id, start, tags.get(OUTCOME, ""), 0, tags.get(NOTE, ""), STRAGGLER in tags)
