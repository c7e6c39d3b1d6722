"""Says how studies stand, each in one line or row."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from tuner.errors import TunerError
from tuner.study.history import History
from tuner.study.replication import best, is_over
from tuner.tracking.report.sentences import headline, number
from tuner.tracking.report.spending import amount, hours

Facts: TypeAlias = Mapping[str, Any]
"""What `summary` returns, and for `line` and `table` also study, state, driver and since."""
HEADS = ("study", "state", "trials", "best", "verdict", "cost", "driven by")


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


def summary_of(read: Callable[[], History]) -> dict[str, Any]:
    """Returns the summary of a study that is read for it, or what is told where another version has made it."""
    try:
        return summary(read())
    except TunerError as error:
        unknown = dict.fromkeys(("ended", "trials", "cost", "verdict"), "–")
        told = {"state": "of another version", "is_over": False, "best": None, "sentence": f"{error}."}
        return told | unknown


def row(
    study: str, facts: Facts, driver: str | None, since: datetime | None, held: str | None
) -> dict[str, Any]:
    """Returns all that is told of a study: its summary, who drives it since when, and how it stands."""
    stands = state(facts, driver is not None, held)
    return {"study": study, "state": stands, "driver": driver, "since": since, **facts}


def state(facts: Facts, is_driven: bool, held: str | None) -> str:
    """Returns whether a study runs, and why not. What its latest driver kept says whether it waits for nodes."""
    if is_driven:
        return "waiting for nodes" if facts.get("is_waiting") else "running"
    if facts["is_over"]:
        return "over" if facts["best"] else "failed"
    return {"pause": "paused", "stop": "stopped"}.get(held or "", "interrupted")


def line(facts: Facts) -> str:
    """Returns the study's state, its best, what it has cost and its verdict."""
    parts = [f"{facts['study']}: {facts['state']}, {facts['ended']} of {facts['trials']} trials ended"]
    parts += [f"best {facts['best']}"] if facts["best"] else []
    return f"{', '.join([*parts, facts['cost']])}. {facts['sentence']}"


def table(studies: Iterable[Facts]) -> str:
    """Shows a line for each study, in columns; a thousand lines would take rich most of a second."""
    rows = [HEADS, *map(_cells, studies)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cells(facts: Facts) -> tuple[str, ...]:
    since = f", since {facts['since']:%Y-%m-%d %H:%M}" if facts["since"] else ""
    trials, driver = f"{facts['ended']} of {facts['trials']}", f"{facts['driver'] or '–'}{since}"
    best, verdict = " ".join((facts["best"] or "–").split()), facts["verdict"]
    return facts["study"], facts["state"], trials, best, verdict, facts["cost"], driver
