"""What a search has spent of its budget, and whether there is something left to gain.

Patience is spent when the latest trials, as many as `budget.patience`, raised the best objective by less than
the noise: the standard deviation of the default's trainings with several seeds, `budget.seeds` and its own.
These are trained as soon as patience may be spent; the race, which needs them, does not train them again.
Crashed trials do not count: they say nothing of the space.

Optuna's terminators compare likewise what is left with an error (Makarova et al. 2022), but by the regret
bound of a Gaussian process over completed trials. In a search of three parameters that bound was still three
times the noise after 120 of them, with the best found long before. They are deprecated, too.
"""

from collections.abc import Iterable
from math import inf
from statistics import stdev

from tuner.job import JobSpec
from tuner.race import worth
from tuner.trial import Outcome, Record


def is_spent(job: JobSpec, records: Iterable[Record]) -> bool:
    """Of GPU-hours or patience; trials and hours the study counts itself."""
    known = list(records)
    return _gpu_hours_are_spent(job, known) or _patience_is_spent(job, known)


def asks_for_noise(job: JobSpec, records: Iterable[Record]) -> bool:
    """Whether patience may be spent once the noise is known."""
    return job.budget.patience is not None and len(_told(records)) > job.budget.patience


def ending(job: JobSpec, records: Iterable[Record]) -> str | None:
    """Why the search has ended; None while it goes on, or would if it were started again."""
    known = list(records)
    search = [record for record in known if record.trial.repeats is None]
    if not all(record.outcome for record in search):
        return None
    if len(search) >= job.budget.trials:
        return "all are drawn"
    if _gpu_hours_are_spent(job, known):
        return f"{job.budget.gpu_hours:g} GPU-hours are spent"
    if _patience_is_spent(job, known):
        gained = f"the latest {job.budget.patience} gained {_gain(job, known):.2f} {job.objective.metric}"
        return f"{gained}, less than the noise between seeds, {_noise(job, known):.2f}"
    return f"{job.budget.hours:g} hours are spent" if time_spent(known) >= job.budget.hours * 3600 else None


def time_spent(records: Iterable[Record]) -> float:
    """Seconds in which at least one of the trials was training, by their own clocks: pauses do not count."""
    spent, until = 0.0, 0.0
    begun = [(r.started.timestamp(), r.last.seconds) for r in records if r.started and r.last]
    for start, seconds in sorted(begun):
        spent += max(0.0, start + seconds - max(start, until))
        until = max(until, start + seconds)
    return spent


def _gpu_hours_are_spent(job: JobSpec, records: Iterable[Record]) -> bool:
    """By the trials of the search; repeats come on top."""
    if job.budget.gpu_hours is None:
        return False
    seconds = sum(record.last.seconds for record in records if record.last and record.trial.repeats is None)
    return seconds / 3600 * job.resources.gpus_per_trial >= job.budget.gpu_hours


def _patience_is_spent(job: JobSpec, records: list[Record]) -> bool:
    if not asks_for_noise(job, records):
        return False
    noise = _noise(job, records)
    return noise is not None and _gain(job, records) < noise


def _noise(job: JobSpec, records: Iterable[Record]) -> float | None:
    """None until the default was trained with all seeds; what completed of that counts."""
    trained = [record for record in records if 0 in (record.trial.number, record.trial.repeats)]
    values = [worth(job, record) for record in trained if record.outcome is Outcome.COMPLETED]
    is_known = len(trained) > job.budget.seeds and all(record.outcome for record in trained)
    return stdev(values) if is_known and len(values) > 1 else None


def _gain(job: JobSpec, records: Iterable[Record]) -> float:
    """What the latest trials raised the best objective by."""
    values = [worth(job, r) if r.outcome is Outcome.COMPLETED else -inf for r in _told(records)]
    first = len(values) - (job.budget.patience or 0)
    return max(0.0, max(values[first:]) - max(values[:first]))


def _told(records: Iterable[Record]) -> list[Record]:
    """The trials of the search that have said something of the space, in the order in which they ended."""
    ended = [(r.ended.timestamp(), r) for r in records if r.ended and r.trial.repeats is None]
    told = [each for each in ended if each[1].outcome is not Outcome.CRASHED]
    return [record for _, record in sorted(told, key=lambda each: each[0])]
