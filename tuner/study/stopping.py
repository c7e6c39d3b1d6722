"""Decides when a search stops: what it has spent, and whether there is something left to gain.

`budget.patience` stops a search after this many trials in a row whose gain is below the noise: the standard
deviation between trainings of the default with several seeds, `budget.seeds` others and its own. The default is
replicated as soon as patience may be spent, and not again after the search. Crashed trials do not count, since
they say nothing about the space.

Optuna's terminators also compare the possible gain with an error (Makarova et al. 2022), but by the regret
bound of a Gaussian process over completed trials. In a search of three parameters that bound was still three
times the noise after 120 trials, with the best found long before. They are deprecated, too.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import ceil, inf
from statistics import stdev

from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record
from tuner.study.history import History


def is_spent(history: History) -> bool:
    """Tells whether GPU-hours or patience are spent; the study itself counts trials and hours."""
    return _gpu_hours_are_spent(history) or _patience_is_spent(history)


def asks_for_noise(history: History) -> bool:
    """Tells whether patience may be spent once the noise is known."""
    patience = history.job.budget.patience
    return patience is not None and len(_informative(history)) > patience


def stop_reason(history: History) -> str | None:
    """Returns why the search has stopped; None while it goes on, or would if it were started again."""
    budget = history.job.budget
    if not all(record.outcome for record in history.search):
        return None
    if len(history.search) >= budget.trials:
        return "all trials were drawn"
    if _gpu_hours_are_spent(history):
        return f"{budget.gpu_hours:g} GPU-hours are spent"
    if _patience_is_spent(history):
        metric = history.job.objective.metric
        gained = f"the latest {budget.patience} trials gained {_gain(history):.2f} {metric}"
        return f"{gained}, less than the noise between seeds, {_noise(history):.2f}"
    if time_spent(history.records) >= budget.hours * 3600:
        return f"{budget.hours:g} hours are spent"
    is_judged = any(record.trial.replicate_of for record in history.records)
    return f"the rest of the {budget.hours:g} hours is kept for the verdict" if is_judged else None


def time_spent(records: Iterable[Record]) -> float:
    """Returns the seconds in which at least one trial was training, by their own clocks: pauses do not count."""
    spent, until = 0.0, 0.0
    begun = [(r.started.timestamp(), r.last.seconds) for r in records if r.started and r.last]
    for start, seconds in sorted(begun):
        spent += max(0.0, start + seconds - max(start, until))
        until = max(until, start + seconds)
    return spent


def verdict_seconds(history: History, trainings: Iterable[int]) -> float:
    """Returns how long such rounds of trainings take at most, by the default's time; 0 while that is unknown.

    As many train at a time as the search's trials did.
    """
    default = history.default
    if default is None or default.outcome is not Outcome.COMPLETED or default.last is None:
        return 0.0
    at_a_time = _most_at_a_time(history.search)
    return sum(ceil(each / at_a_time) for each in trainings) * default.last.seconds


def is_time_for_the_verdict(history: History, left: float, trainings: Sequence[int]) -> bool:
    """Tells whether the seconds that are left are just enough for the verdict; shorter budgets keep no room."""
    if (
        not history.default
        or not history.default.last
        or left > sum(trainings) * history.default.last.seconds
    ):
        return False
    return left < verdict_seconds(history, trainings) < history.job.budget.hours * 3600


def no_verdict(job: JobSpec, rounds: Sequence[int], earlier: Iterable[History]) -> Iterator[str]:
    """Says where a budget of hours leaves no room for the verdict, by the default's time in earlier studies."""
    for history in earlier:
        if seconds := verdict_seconds(history, rounds):
            needed = (seconds + history.records[0].measurements[-1].seconds) / 3600
            if needed >= job.budget.hours:
                yield (
                    f"budget.hours: {job.budget.hours:g} leaves no room for a verdict: by study {history.job.name} "
                    f"the default and its repeats take up to {needed:.2g} hours; allow more, or fewer seeds"
                )
            return


def _most_at_a_time(records: Iterable[Record]) -> int:
    spans = [(r.started.timestamp(), r.last.seconds) for r in records if r.started and r.last]
    steps = sorted([(start, 1) for start, _ in spans] + [(start + long, -1) for start, long in spans])
    return max(accumulate((step for _, step in steps)), default=1)


def _gpu_hours_are_spent(history: History) -> bool:
    """Counts the trials of the search alone; replicates come on top."""
    limit = history.job.budget.gpu_hours
    if limit is None:
        return False
    seconds = sum(record.last.seconds for record in history.search if record.last)
    return seconds / 3600 * history.job.resources.gpus_per_trial >= limit


def _patience_is_spent(history: History) -> bool:
    if not asks_for_noise(history):
        return False
    noise = _noise(history)
    return noise is not None and _gain(history) < noise


def _noise(history: History) -> float | None:
    """Returns the noise between seeds, None until the default was trained with all of them."""
    trained = [record for record in history.records if 0 in (record.trial.number, record.trial.replicate_of)]
    values = [history.score(record) for record in trained if record.outcome is Outcome.COMPLETED]
    is_known = len(trained) > history.job.budget.seeds and all(record.outcome for record in trained)
    return stdev(values) if is_known and len(values) > 1 else None


def _gain(history: History) -> float:
    """Returns by how much the latest trials raised the best objective."""
    values = [
        history.score(record) if record.outcome is Outcome.COMPLETED else -inf
        for record in _informative(history)
    ]
    first = len(values) - (history.job.budget.patience or 0)
    return max(0.0, max(values[first:]) - max(values[:first]))


def _informative(history: History) -> list[Record]:
    """Lists the trials of the search that say something about the space, in the order in which they ended."""
    ended = [(r.ended.timestamp(), r) for r in history.search if r.ended]
    informative = [each for each in ended if each[1].outcome is not Outcome.CRASHED]
    return [record for _, record in sorted(informative, key=lambda each: each[0])]
