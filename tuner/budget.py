"""What a search has spent of its budget."""

from collections.abc import Iterable

from tuner.job import JobSpec
from tuner.trial import Record


def gpu_hours_are_spent(job: JobSpec, records: Iterable[Record]) -> bool:
    """By the trials of the search; repeats come on top."""
    if job.budget.gpu_hours is None:
        return False
    seconds = sum(record.last.seconds for record in records if record.last and record.trial.repeats is None)
    return seconds / 3600 * job.resources.gpus_per_trial >= job.budget.gpu_hours


def time_spent(records: Iterable[Record]) -> float:
    """Seconds in which at least one of the trials was training, by their own clocks: pauses do not count."""
    spent, until = 0.0, 0.0
    begun = [(r.started.timestamp(), r.last.seconds) for r in records if r.started and r.last]
    for start, seconds in sorted(begun):
        spent += max(0.0, start + seconds - max(start, until))
        until = max(until, start + seconds)
    return spent
