"""Says how studies stand, each in one line or row."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from rich import box
from rich.table import Table
from rich.text import Text

from tuner.study.history import History
from tuner.study.replication import best, is_over
from tuner.tracking.report.sentences import headline, number
from tuner.tracking.report.spending import amount, hours

Facts: TypeAlias = Mapping[str, Any]
"""What `summary` returns, and for `line` and `table` also study, state, driver and since."""


def summary(history: History) -> dict[str, Any]:
    """Returns what is told of a study where all are told, as JSON can hold it."""
    job, first, verdict = history.job, best(history), headline(history)
    value = first and number(job, first.value(job.objective.metric))
    return {
        "ended": sum(record.outcome is not None for record in history.search),
        "trials": job.budget.trials,
        "is_over": is_over(history),
        "best": f"{value} {job.objective.metric} (trial {first.trial.number})" if first else None,
        "cost": amount(job, sum(hours(job, record) for record in history.records)),
        "verdict": verdict.standing,
        "sentence": verdict.sentence,
    }


def state(facts: Facts, is_driven: bool, held: str | None) -> str:
    """Returns whether a study runs, and why not."""
    if is_driven:
        return "running"
    if facts["is_over"]:
        return "over" if facts["best"] else "failed"
    return {"pause": "paused", "stop": "stopped"}.get(held or "", "interrupted")


def line(facts: Facts) -> str:
    """Returns the study's state, its best, what it has cost and its verdict."""
    parts = [f"{facts['study']}: {facts['state']}, {facts['ended']} of {facts['trials']} trials ended"]
    parts += [f"best {facts['best']}"] if facts["best"] else []
    return f"{', '.join([*parts, facts['cost']])}. {facts['sentence']}"


def table(studies: Iterable[Facts]) -> Table:
    """Shows a row for each study."""
    found = Table("study", "state", "trials", "best", "verdict", "cost", "driven by", box=box.SIMPLE_HEAD)
    for each in studies:
        since = f", since {each['since']:%Y-%m-%d %H:%M}" if each["since"] else ""
        cells = each["study"], each["state"], f"{each['ended']} of {each['trials']}", each["best"] or "–"
        found.add_row(*map(Text, (*cells, each["verdict"], each["cost"], f"{each['driver'] or '–'}{since}")))
    return found
