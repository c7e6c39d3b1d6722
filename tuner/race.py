"""After the search: the default and the best few race over other seeds, and who is best is judged by that.

A round is a training of each with the same seed. After it, those that can no longer win are left out, but for
the best trial of each number of centers where one parameter sets it: these are compared with each other too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from tuner.centers import Comparison, comparison
from tuner.front import front
from tuner.job import JobSpec
from tuner.trial import Outcome, Record, Value
from tuner.verdict import Verdict, noise, racing, verdict

FINALISTS = 4


def due(job: JobSpec, records: Iterable[Record]) -> list[tuple[int, int]]:
    """The number and seed of each repeat to be trained now, given that the search draws no more trials.

    None while trials of the search or of a round run, and after the last round.
    """
    known = list(records)
    search = [record for record in known if record.trial.repeats is None]
    if job.budget.seeds < 2 or not all(r.outcome for r in search):
        return []
    trained = {(record.trial.repeats, record.trial.seed): record for record in known}
    racers = finalists(job, search) if search[0].outcome is Outcome.COMPLETED else []
    for seed in _seeds(job):
        if not racers:
            return []
        wanted = [(number, seed) for number in (0, *racers)]
        if missing := [repeat for repeat in wanted if repeat not in trained]:
            return missing
        if not all(trained[repeat].outcome for repeat in wanted):
            return []
        values = _values(job, known)
        still = {n: values[n] for n in racers if trained[n, seed].outcome is Outcome.COMPLETED}
        stay = {*racing(values[0], still), *_best_by_centers(job, search).values()}
        racers = [number for number in still if number in stay]
    return []


def default_due(job: JobSpec, records: Iterable[Record]) -> list[tuple[int, int]]:
    """The default's part of all rounds, as far as it is still to be trained: the noise is known by it."""
    known = list(records)
    trained = {record.trial.seed for record in known if record.trial.repeats == 0}
    is_completed = bool(known) and known[0].outcome is Outcome.COMPLETED
    return [(0, seed) for seed in _seeds(job) if is_completed and seed not in trained]


def finalists(job: JobSpec, records: Iterable[Record]) -> list[int]:
    """The best few of the search so far, and the best of each number of centers, besides the default."""
    known = list(records)
    ranked = [record.trial.number for record in _ranked(job, known) if record.trial.number != 0]
    by_centers = [number for number in _best_by_centers(job, known).values() if number != 0]
    return list(dict.fromkeys([*ranked[:FINALISTS], *by_centers]))


def judged(job: JobSpec, records: Iterable[Record]) -> Verdict | None:
    """The verdict on the repeats so far; its difference is in the objective's own direction."""
    values = _values(job, records)
    default = values.pop(0, {})
    found = verdict(default, values)
    if found is None or job.objective.direction == "maximize":
        return found
    return replace(found, difference=-found.difference, low=-found.high, high=-found.low)


def compared(job: JobSpec, records: Iterable[Record]) -> Comparison | None:
    """The numbers of centers against the best one; differences are in the objective's own direction.

    A number is left out when its trial failed with another seed.
    """
    known = list(records)
    failed = {r.trial.repeats for r in known if r.outcome and r.outcome is not Outcome.COMPLETED}
    trials = {centers: n for centers, n in _best_by_centers(job, known).items() if n not in failed}
    values = _values(job, known)
    repeats = {
        centers: {seed: value for seed, value in values.get(number, {}).items() if seed in _seeds(job)}
        for centers, number in trials.items()
    }
    found = comparison(trials, repeats, noise(values.values()))
    if found is None or job.objective.direction == "maximize":
        return found
    others = (replace(o, difference=-o.difference, low=-o.high, high=-o.low) for o in found.others)
    return replace(found, others=tuple(others))


def findings(job: JobSpec, records: Iterable[Record]) -> dict[str, Any]:
    """Both verdicts as JSON has them, and the numbers of the front."""
    known = list(records)
    against_default, between_centers = judged(job, known), compared(job, known)
    return {
        "verdict": against_default and asdict(against_default) | {"ruling": against_default.ruling},
        "centers": between_centers and asdict(between_centers),
        "front": [record.trial.number for record in front(job, known)],
    }


def best(job: JobSpec, records: Iterable[Record]) -> Record | None:
    """The trial of the search that won the race, the default if all others are worse.

    As long as nothing is judged, the completed one with the best objective; the earlier one of equals.
    """
    known = list(records)
    ranked = _ranked(job, known)
    if found := judged(job, known):
        winner = 0 if found.ruling == "worse" else found.candidate
        return next(record for record in ranked if record.trial.number == winner)
    return next(iter(ranked), None)


def _seeds(job: JobSpec) -> range:
    return range(job.seed + 1, job.seed + 1 + job.budget.seeds)


def _ranked(job: JobSpec, records: Iterable[Record]) -> list[Record]:
    search = [r for r in records if r.trial.repeats is None and r.outcome is Outcome.COMPLETED]
    return sorted(search, key=lambda record: -worth(job, record))


def _best_by_centers(job: JobSpec, records: Iterable[Record]) -> dict[Value, int]:
    """The best trial of each number of centers that completed; none unless exactly one parameter sets it."""
    setting = [name for name, parameter in job.space.parameters.items() if parameter.sets_centers]
    found: dict[Value, int] = {}
    for record in _ranked(job, records) if len(setting) == 1 else []:
        if setting[0] in record.trial.params:
            found.setdefault(record.trial.params[setting[0]], record.trial.number)
    return found if len(found) > 1 else {}


def _values(job: JobSpec, records: Iterable[Record]) -> dict[int, Mapping[int, float]]:
    """By number, what counts for the verdict: the repeats that completed, and the default's own value."""
    values: dict[int, dict[int, float]] = {}
    for record in records:
        number = record.trial.number if record.trial.repeats is None else record.trial.repeats
        picked = record.trial.repeats is None and number != 0
        if record.outcome is Outcome.COMPLETED and not picked:
            values.setdefault(number, {})[record.trial.seed] = worth(job, record)
    return dict(values)


def worth(job: JobSpec, record: Record) -> float:
    """The objective, such that more is better."""
    sign = 1 if job.objective.direction == "maximize" else -1
    return sign * (record.value(job.objective.metric) or 0.0)
