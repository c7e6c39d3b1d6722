"""The study on the terminal: a live table, or a plain line an event where nobody looks."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuner.front import front
from tuner.job import JobSpec
from tuner.memory import GIB, Memory
from tuner.pace import slowed
from tuner.plan import Plan
from tuner.race import best
from tuner.trial import Outcome, Record, Swept, Trial, Value

UNFINISHED = "unfinished"
SLOWED = " *"
SLOWED_MEANS = "* slowed by its node"
UNBEATEN = " ◆"
UNBEATEN_MEANS = "◆ no other is better in one and as good in the other"
ORDER = (Outcome.COMPLETED, None, Outcome.PRUNED, Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.CRASHED)
OWN_COLUMNS = 4
"""A space with more parameters shows them in one column."""
AROUND = 7
"""Lines of a live table that are no rows."""


class TrialTable:
    """A study.Watcher; a context manager while the study runs."""

    def __init__(self, job: JobSpec, records: Iterable[Record] = (), console: Console | None = None) -> None:
        self._job = job
        self._records = {record.trial.number: record for record in records}
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._started = time.monotonic()
        self._ended = 0

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
        self._ended += record.outcome is not None
        if self._live.is_started:
            self._refresh()
        else:
            self._console.print(self._event(before, record), soft_wrap=True, markup=False, highlight=False)

    def _refresh(self) -> None:
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        records = sorted(_ranked(self._job, self._records.values()), key=lambda r: r.outcome is not None)
        table = _table(self._job, records[: max(1, self._console.height - AROUND)])
        table.caption = self._caption()
        return table

    def _caption(self) -> str:
        records = list(self._records.values())
        ended = sum(record.outcome is not None and record.trial.repeats is None for record in records)
        trials = self._job.budget.trials
        parts = [f"{self._job.name}: {progress(self._job, records)}"]
        if first := best(self._job, records):
            parts.append(f"best {_objective(self._job, first)} (trial {first.trial.number})")
        if self._ended and ended < trials:
            seconds = (time.monotonic() - self._started) / self._ended * (trials - ended)
            parts.append(f"all by {datetime.now().astimezone() + timedelta(seconds=seconds):%a %H:%M}")
        return ", ".join(parts)

    def _event(self, before: Record | None, record: Record) -> str:
        trial = f"trial {record.trial.number}"
        if record.trial.repeats is not None:
            trial += f" ({record.trial.repeats} again, seed {record.trial.seed})"
        if record.outcome:
            reason = f": {record.note}" if record.note else ""
            return f"{trial}: {record.outcome.value}{reason}{self._praise(record)}"
        if before is None or record.last is None:
            return f"{trial}: {_listed(record.trial)}"
        return f"{trial}: iteration {record.last.iteration}, {_objective(self._job, record)}"

    def _praise(self, record: Record) -> str:
        is_best = best(self._job, self._records.values()) is record
        return f", the best so far: {_objective(self._job, record)}" if is_best else ""


def plan_table(plan: Plan) -> Table:
    """What a job would do, and a row for each corner of its space."""
    job, ranks = plan.job, plan.job.resources.processes
    facts = (
        f"{job.name}: {job.budget.trials} trials of {ranks} {'rank' if ranks == 1 else 'ranks'} "
        f"({job.resources.gpus_per_trial:g} GPUs), {plan.pictures} pictures a rank at a time; "
        f"rungs {job.fidelity.rungs_text}"
    )
    params = [*plan.corners[0].params] if plan.corners else []
    heads = [*params, "weights", "activations", "passing", "a rank needs"]
    table = Table("", *heads, title=facts, title_justify="left", box=box.SIMPLE_HEAD, caption=_room(plan))
    if plan.default:
        table.add_row("default", *[""] * len(params), *_gibibytes(plan.default))
    for corner in plan.corners:
        values = [_short(corner.params[name]) for name in params]
        table.add_row("" if corner.fits else "too large", *values, *_gibibytes(corner.memory))
    return table


def _gibibytes(memory: Memory) -> list[str]:
    parts = memory.weights, memory.activations, memory.passing, memory.total
    return [f"{part / GIB:.2f} GiB" for part in parts]


def _room(plan: Plan) -> str:
    if plan.default is None:
        return "memory is reckoned for Context Cluster with Semantic FPN alone"
    beside = "; what CUDA and cuDNN take for themselves comes on top"
    if plan.job.resources.gpu_memory is None:
        return "resources.gpu_memory is not set: no trial is left out" + beside
    return f"a rank has {plan.job.resources.memory_per_rank:g} GiB: what is too large is not drawn{beside}"


def sweep_table(swept: Iterable[Swept]) -> Table:
    table = Table("stage", "centers", "mIoU", "pictures per second", box=box.SIMPLE_HEAD)
    for each in swept:
        where = "all" if each.stage is None else str(each.stage)
        values = f"{each.metrics['mIoU']:.2f}", f"{each.pictures_per_second:.1f}"
        table.add_row(where, str(each.centers), *values)
    return table


def status_table(job: JobSpec, records: Iterable[Record]) -> Table:
    """The leaderboard: the best completed trial first, then the unfinished, pruned, failed and repeats."""
    ranked = _ranked(job, records)
    table = _table(job, ranked)
    meanings = {SLOWED_MEANS: slowed(ranked), UNBEATEN_MEANS: front(job, ranked)}
    table.caption = "\n".join(meaning for meaning, trials in meanings.items() if trials) or None
    return table


def progress(job: JobSpec, records: Iterable[Record]) -> str:
    ended = [record for record in records if record.outcome]
    repeats = sum(record.trial.repeats is not None for record in ended)
    text = f"{len(ended) - repeats} of {job.budget.trials} trials ended"
    return f"{text}, and {repeats} repeats" if repeats else text


def _ranked(job: JobSpec, records: Iterable[Record]) -> list[Record]:
    sign = -1 if job.objective.direction == "maximize" else 1

    def rank(record: Record) -> tuple[int, int, float, int]:
        value = record.value(job.objective.metric)
        worth = float("inf") if value is None else sign * value
        repeats = -1 if record.trial.repeats is None else record.trial.repeats
        return repeats, ORDER.index(record.outcome), worth, record.trial.number

    return sorted(records, key=rank)


def _table(job: JobSpec, records: list[Record]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("iteration", justify="right", no_wrap=True)
    table.add_column(job.objective.metric, justify="right", no_wrap=True)
    if job.objective.cost:
        table.add_column(job.objective.cost, justify="right", no_wrap=True)
    names = list(job.space.parameters)
    own = len(names) <= OWN_COLUMNS
    for name in names if own else ["parameters"]:
        table.add_column(name, overflow="fold")
    first, slow, ahead = best(job, records), slowed(records), front(job, records)
    for record in records:
        params = [_short(record.trial.params.get(name, "")) for name in names]
        cells = params if own else [_listed(record.trial)]
        facts = _facts(job, record, is_slowed=record.trial.number in slow)
        costs = _costs(job, record, is_unbeaten=record in ahead)
        table.add_row(*facts, *costs, *cells, style="bold green" if record is first else "")
    return table


def _facts(job: JobSpec, record: Record, *, is_slowed: bool) -> list[Text]:
    number, repeats = record.trial.number, record.trial.repeats
    value = record.value(job.objective.metric)
    name = str(number) if repeats is None else f"{number} ({repeats} again)"
    outcome = record.outcome.value if record.outcome else UNFINISHED
    return [
        Text("default 0" if number == 0 else name),
        Text(outcome + (SLOWED if is_slowed else "")),
        Text(str(record.last.iteration) if record.last else ""),
        Text("" if value is None else f"{value:.2f}"),
    ]


def _costs(job: JobSpec, record: Record, *, is_unbeaten: bool) -> list[str]:
    """The cell of the cost, in a job that has one."""
    if job.objective.cost is None:
        return []
    value = record.value(job.objective.cost)
    return ["" if value is None else f"{value:.4g}{UNBEATEN if is_unbeaten else '  '}"]


def _objective(job: JobSpec, record: Record) -> str:
    value = record.value(job.objective.metric)
    return f"{job.objective.metric} {'unknown' if value is None else f'{value:.2f}'}"


def _listed(trial: Trial) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
