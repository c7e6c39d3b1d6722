"""Says the verdict in one sentence, the same in every place that shows it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome
from tuner.study.history import History
from tuner.study.replication import judged
from tuner.study.verdict import Verdict

Standing: TypeAlias = Literal["confirmed", "not distinguishable", "worse", "open"]


@dataclass(frozen=True)
class Headline:
    standing: Standing
    """The verdict's ruling; open as long as there is none."""
    sentence: str


def headline(history: History) -> Headline:
    """Says whether tuning paid, or what is still missing to say so."""
    if found := judged(history):
        return Headline(found.ruling, _judged(history.job, found))
    return Headline("open", f"No verdict yet: {_missing(history)}")


def number(job: JobSpec, value: float | None, sign: str = "") -> str:
    """Writes the objective as a person reads it: two decimals, of a loss four; `sign` + shows both signs."""
    if value is None:
        return "–"
    return f"{value:{sign}.{4 if job.objective.metric == 'loss' else 2}f}".replace("-", "−")


def _judged(job: JobSpec, found: Verdict) -> str:
    metric, trial = job.objective.metric, f"trial {found.candidate}"
    size = number(job, abs(found.difference))
    interval = (
        f"(95 % interval {number(job, found.low, '+')} to {number(job, found.high, '+')}, "
        f"over {found.seeds} seeds)"
    )
    more = "more" if found.difference >= 0 else "less"
    match found.ruling:
        case "confirmed":
            return f"Confirmed: {trial} reaches {size} {metric} {more} than the default {interval}."
        case "worse":
            return (
                f"Worse: the best candidate, {trial}, reaches {size} {metric} {more} than the default "
                f"{interval}. Keep the default."
            )
        case _:
            return (
                f"Not distinguishable: {trial} reaches {size} {metric} {more} than the default {interval}, "
                "which the noise between seeds can explain."
            )


def _missing(history: History) -> str:
    job, metric = history.job, history.job.objective.metric
    if history.default is None:
        return "no trial has begun."
    if history.default.outcome is None:
        return "the default has not completed."
    if history.default.outcome is not Outcome.COMPLETED:
        return f"the default ended as {history.default.outcome.value}."
    rival = next((record for record in history.ranked if record.trial.number != 0), None)
    if rival is None:
        return "no trial but the default has completed."
    gain = (rival.value(metric) or 0.0) - (history.default.value(metric) or 0.0)
    lead = (
        f"trial {rival.trial.number} differs from the default by {number(job, gain, '+')} {metric} "
        "in one training each, which may be chance"
    )
    if job.budget.seeds < 2:
        return f"{lead}. Set budget.seeds to 3 or more to find out."
    return f"{lead}. The replicates over {job.budget.seeds} seeds will tell."
