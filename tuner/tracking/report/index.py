"""Says in one line how a study stands."""

from tuner.study.history import History
from tuner.study.replication import best, is_over
from tuner.tracking.report.sentences import headline, number
from tuner.tracking.report.spending import amount, hours


def line(history: History, is_driven: bool) -> str:
    """Returns the study's state, its best, what it has cost and its verdict."""
    job = history.job
    spent = sum(hours(job, record) for record in history.records)
    parts = [f"{job.name}: {_state(history, is_driven)}", amount(job, spent)]
    if first := best(history):
        value = number(job, first.value(job.objective.metric))
        parts.insert(1, f"best {value} {job.objective.metric} (trial {first.trial.number})")
    return f"{', '.join(parts)}. {headline(history).sentence}"


def _state(history: History, is_driven: bool) -> str:
    ended = sum(record.outcome is not None for record in history.search)
    if is_over(history):
        return f"ended after {ended} trials"
    return f"{'running' if is_driven else 'interrupted'}, {ended} of {history.job.budget.trials} trials ended"
