"""Shows a study on the terminal: a live table, or a plain line an event where nobody looks."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import isfinite
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record, Trial
from tuner.study.history import History
from tuner.study.pareto import pareto_front
from tuner.study.replication import best, is_over
from tuner.study.stopping import time_spent
from tuner.tracking.report.sentences import headline
from tuner.tracking.report.spending import amount, hours
from tuner.tracking.stragglers import stragglers
from tuner.tracking.tables import short

UNFINISHED = "unfinished"
STRAGGLER = " *"
STRAGGLER_MEANS = "* slowed by its node"
PARETO_OPTIMAL = " ◆"
PARETO_MEANS = "◆ no other is better in one and as good in the other"
ORDER = (Outcome.COMPLETED, None, Outcome.PRUNED, Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.CRASHED)
OWN_COLUMNS = 4
"""A space with more parameters shows them in one column."""
AROUND = 9
"""Lines of a live table that are no rows."""
BLOCKS = "▁▂▃▄▅▆▇█"
WATCH_SECONDS = 2.0
"""Seconds between two looks into the studies' database."""


class TrialTable:
    """Shows a running study, as its callback; it is a context manager while the study runs."""

    def __init__(self, history: History, console: Console | None = None) -> None:
        self._job = history.job
        self._records = {record.trial.number: record for record in history.records}
        self._console = console or Console(markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> "TrialTable":
        if self._console.is_terminal:
            self._live.start()
            self._refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def changed(self, record: Record) -> None:
        before = self._records.get(record.trial.number)
        self._records[record.trial.number] = record
        if self._live.is_started:
            self._refresh()
        else:
            self._console.print(
                self._event(before, record), soft_wrap=True, markup=False, emoji=False, highlight=False
            )

    @property
    def _history(self) -> History:
        return History(self._job, [*self._records.values()])

    def _refresh(self) -> None:
        self._live.update(live_table(self._history, self._console.height), refresh=True)

    def _event(self, before: Record | None, record: Record) -> str:
        trial = f"trial {record.trial.number}"
        if record.trial.replicate_of is not None:
            trial += f" ({record.trial.replicate_of} again, seed {record.trial.seed})"
        if record.outcome:
            reason = f": {record.note}" if record.note else ""
            return f"{trial}: {record.outcome.value}{reason}{self._praise(record)}"
        if before is None or record.last is None:
            return f"{trial}: {_listed(record.trial)}"
        return f"{trial}: iteration {record.last.iteration}, {_objective(self._job, record)}"

    def _praise(self, record: Record) -> str:
        is_best = best(self._history) is record
        return f", the best so far: {_objective(self._job, record)}" if is_best else ""


def watch(read: Callable[[], History], console: Console) -> None:
    """Shows a study that another process drives, until it has ended or somebody interrupts."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            history = read()
            live.update(live_table(history, console.height), refresh=True)
            if is_over(history):
                return
            time.sleep(WATCH_SECONDS)


def live_table(history: History, height: int) -> Table:
    """Returns the trials that fit on the screen, running ones first, and below them how the study stands."""
    records = sorted(_ranked(history), key=lambda record: record.outcome is not None)
    table = _table(history, records[: max(1, height - AROUND)], has_curves=True)
    table.caption = Text(f"{_standing(history)}\n{headline(history).sentence}")
    return table


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Draws values as blocks between the lowest and the highest of all trials."""
    span = (high - low) or 1.0
    known = [value for value in values if isfinite(value)]
    return "".join(BLOCKS[round((len(BLOCKS) - 1) * (value - low) / span)] for value in known)


def all_by(history: History, now: datetime) -> datetime | None:
    """Returns when the search will have ended at its pace so far; None where none is known."""
    ended = sum(record.outcome is not None for record in history.search)
    left = history.job.budget.trials - ended
    seconds = time_spent(history.search)
    return now + timedelta(seconds=seconds / ended * left) if ended and left > 0 and seconds else None


def _standing(history: History) -> str:
    job = history.job
    parts = [f"{job.name}: {progress(history)}"]
    if first := best(history):
        parts.append(f"best {_objective(job, first)} (trial {first.trial.number})")
    parts.append(amount(job, sum(hours(job, record) for record in history.records)))
    if end := all_by(history, datetime.now().astimezone()):
        parts.append(f"all by {end:%a %H:%M}")
    return ", ".join(parts)


def status_table(history: History) -> Table:
    """Returns the leaderboard: the best completed trial first, then unfinished, pruned and failed ones, replicates."""
    ranked = _ranked(history)
    table = _table(history, ranked)
    meanings = {STRAGGLER_MEANS: stragglers(ranked), PARETO_MEANS: pareto_front(history)}
    table.caption = "\n".join(meaning for meaning, trials in meanings.items() if trials) or None
    return table


def progress(history: History) -> str:
    """Says how many trials have ended."""
    ended = [record for record in history.records if record.outcome]
    replicates = sum(record.trial.replicate_of is not None for record in ended)
    text = f"{len(ended) - replicates} of {history.job.budget.trials} trials ended"
    return f"{text}, and {replicates} replicates" if replicates else text


def _ranked(history: History) -> list[Record]:

    def rank(record: Record) -> tuple[int, int, float, int]:
        score = -history.score(record) if record.last else float("inf")
        replicates = -1 if record.trial.replicate_of is None else record.trial.replicate_of
        return replicates, ORDER.index(record.outcome), score, record.trial.number

    return sorted(history.records, key=rank)


def _table(history: History, records: list[Record], *, has_curves: bool = False) -> Table:
    job = history.job
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("iteration", justify="right", no_wrap=True)
    table.add_column(Text(job.objective.metric), justify="right", no_wrap=True)
    if has_curves:
        table.add_column("curve", no_wrap=True)
    if job.objective.cost:
        table.add_column(job.objective.cost, justify="right", no_wrap=True)
    names = list(job.space.parameters)
    own = len(names) <= OWN_COLUMNS
    for name in names if own else ["parameters"]:
        table.add_column(name, overflow="fold")
    first, slow, ahead = best(history), stragglers(history.records), pareto_front(history)
    range_ = _range(history)
    for record in records:
        params = [Text(short(record.trial.params.get(name, ""))) for name in names]
        cells = params if own else [Text(_listed(record.trial))]
        facts = _facts(job, record, is_slowed=record.trial.number in slow)
        costs = _costs(job, record, is_pareto_optimal=record in ahead)
        curve = [sparkline(_values(job, record), *range_)] if has_curves else []
        table.add_row(*facts, *curve, *costs, *cells, style="bold green" if record is first else "")
    return table


def _range(history: History) -> tuple[float, float]:
    """Returns the lowest and the highest objective that was measured."""
    values = [each for record in history.records for each in _values(history.job, record) if isfinite(each)]
    return (min(values), max(values)) if values else (0.0, 1.0)


def _values(job: JobSpec, record: Record) -> list[float]:
    metric = job.objective.metric
    return [each.metrics[metric] for each in record.measurements if metric in each.metrics]


def _facts(job: JobSpec, record: Record, *, is_slowed: bool) -> list[Text]:
    number, replicates = record.trial.number, record.trial.replicate_of
    value = record.value(job.objective.metric)
    name = str(number) if replicates is None else f"{number} ({replicates} again)"
    outcome = record.outcome.value if record.outcome else UNFINISHED
    return [
        Text("default 0" if number == 0 else name),
        Text(outcome + (STRAGGLER if is_slowed else "")),
        Text(str(record.last.iteration) if record.last else ""),
        Text("" if value is None else f"{value:.2f}"),
    ]


def _costs(job: JobSpec, record: Record, *, is_pareto_optimal: bool) -> list[str]:
    """Returns the cell of the cost, in a job that has one."""
    if job.objective.cost is None:
        return []
    value = record.value(job.objective.cost)
    return ["" if value is None else f"{value:.4g}{PARETO_OPTIMAL if is_pareto_optimal else '  '}"]


def _objective(job: JobSpec, record: Record) -> str:
    value = record.value(job.objective.metric)
    return f"{job.objective.metric} {'unknown' if value is None else f'{value:.2f}'}"


def _listed(trial: Trial) -> str:
    return ", ".join(f"{name} {short(value)}" for name, value in trial.params.items())
