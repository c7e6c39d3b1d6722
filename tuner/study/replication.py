"""Decides which trials are trained again with other seeds after the search, and who is best by that.

A round trains the default and every candidate with the same seed. After a round the worse half of the candidates
is dropped, and the race ends as soon as its verdict stands. Where one parameter sets the number of centers, the best
trial of each number stays for all rounds, since these trials are compared with each other too.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import ceil
from typing import Any

from tuner.spec.space import ChoiceParameter
from tuner.spec.trial import Outcome, Record, Value
from tuner.study.center_comparison import Comparison, comparison
from tuner.study.history import History
from tuner.study.pareto import pareto_front
from tuner.study.stopping import asks_for_noise, is_spent
from tuner.study.verdict import Values, Verdict, noise, remaining, verdict

FINALISTS = 2
"""The best trials of the search that race. Four would find a winner that is truly better by a tenth of the noise, for a
third more trainings (simulated)."""


def pending_replicates(history: History) -> list[tuple[int, int]]:
    """Lists number and seed of each training to be replicated now, given that the search draws no more trials.

    The list is empty while trials of the search or of a round run, and after the last round.
    """
    search = history.search
    if history.job.budget.seeds < 2 or not all(record.outcome for record in search):
        return []
    trained = {(record.trial.replicate_of, record.trial.seed): record for record in history.records}
    candidates = finalists(history) if search[0].outcome is Outcome.COMPLETED else []
    values, is_decided = _values(history), False
    for seed in _seeds(history):
        if not candidates:
            return []
        default = [] if is_decided and 0 not in _best_by_centers(history).values() else [0]
        wanted = [(number, seed) for number in (*default, *candidates)]
        if missing := [replicate for replicate in wanted if replicate not in trained]:
            return missing
        if not all(trained[replicate].outcome for replicate in wanted):
            return []
        still = {
            n: _up_to(seed, values[n]) for n in candidates if trained[n, seed].outcome is Outcome.COMPLETED
        }
        found = _race(history, values, seed)
        is_decided = is_decided or (found is not None and found.stands)
        racing = [] if is_decided else remaining(still)
        stay = {*racing, *_best_by_centers(history).values()}
        candidates = [number for number in still if number in stay]
    return []


def rounds(history: History) -> list[int]:
    """Returns how many trainings each round takes at most."""
    if history.job.budget.seeds < 2:
        return []
    setting = [each for each in history.job.space.parameters.values() if each.sets_centers]
    choices = setting[0].choices if len(setting) == 1 and isinstance(setting[0], ChoiceParameter) else ()
    centers, racing, counts = len(choices), FINALISTS, []
    for _ in _seeds(history):
        counts.append(1 + racing + centers)
        racing = ceil(racing / 2)
    return counts


def replicates_due(history: History, is_drawing: bool) -> list[tuple[int, int]]:
    """Lists what is to be trained again now: in the search the default alone, when patience asks for it."""
    if not is_drawing:
        return pending_replicates(history)
    return pending_default_replicates(history) if asks_for_noise(history) else []


def pending_default_replicates(history: History) -> list[tuple[int, int]]:
    """Lists the default's part of all rounds that is still to be trained: it measures the noise between seeds."""
    trained = {record.trial.seed for record in history.records if record.trial.replicate_of == 0}
    is_completed = history.default is not None and history.default.outcome is Outcome.COMPLETED
    return [(0, seed) for seed in _seeds(history) if is_completed and seed not in trained]


def finalists(history: History) -> list[int]:
    """Lists the best few trials of the search so far and the best of each number of centers, without trial 0."""
    ranked = [record.trial.number for record in history.ranked if record.trial.number != 0]
    by_centers = [number for number in _best_by_centers(history).values() if number != 0]
    return list(dict.fromkeys([*ranked[:FINALISTS], *by_centers]))


def is_over(history: History) -> bool:
    """Tells whether nothing is left to be trained: no trial of the search and no replicate."""
    is_drawn = len(history.search) >= history.job.budget.trials or is_spent(history)
    if not is_drawn or not history.search or not all(record.outcome for record in history.records):
        return False
    return not pending_replicates(history)


def judged(history: History) -> Verdict | None:
    """Returns the verdict by the replicates so far; its difference is in the objective's own direction."""
    found = _race(history, _values(history), _seeds(history)[-1])
    if found is None or history.sign > 0:
        return found
    return replace(found, difference=-found.difference, low=-found.high, high=-found.low)


def compared(history: History) -> Comparison | None:
    """Compares the numbers of centers with the best one; differences are in the objective's own direction.

    A number is left out when its trial failed with another seed.
    """
    failed = {r.trial.replicate_of for r in history.records if r.outcome not in (None, Outcome.COMPLETED)}
    trials = {centers: n for centers, n in _best_by_centers(history).items() if n not in failed}
    values = _values(history)
    seeds = _seeds(history)
    replicates = {
        centers: {seed: value for seed, value in values.get(number, {}).items() if seed in seeds}
        for centers, number in trials.items()
    }
    found = comparison(trials, replicates, noise(values.values()))
    if found is None or history.sign > 0:
        return found
    others = (replace(o, difference=-o.difference, low=-o.high, high=-o.low) for o in found.others)
    return replace(found, others=tuple(others))


def noise_between_seeds(history: History) -> tuple[float, int]:
    """Returns the deviation between a study's seeds and its degrees of freedom, 0 where nothing was repeated."""
    return noise(_values(history).values())


def findings(history: History) -> dict[str, Any]:
    """Returns both verdicts as JSON has them, and the numbers of the Pareto front."""
    against_default, between_centers = judged(history), compared(history)
    return {
        "verdict": against_default and asdict(against_default) | {"ruling": against_default.ruling},
        "centers": between_centers and asdict(between_centers),
        "pareto_front": [record.trial.number for record in pareto_front(history)],
    }


def best(history: History) -> Record | None:
    """Returns the trial of the search that is best by its replicates, the default if all others are worse.

    As long as nothing is judged, it is the completed trial with the best objective, of equals the earlier one.
    """
    if found := judged(history):
        winner = 0 if found.ruling == "worse" else found.candidate
        return next(record for record in history.ranked if record.trial.number == winner)
    return next(iter(history.ranked), None)


def _race(history: History, values: Mapping[int, Values], last: int) -> Verdict | None:
    """Returns the first verdict that stands, else that of the seeds up to the last; more is better."""
    found = None
    for seed in range(_seeds(history)[0], last + 1):
        so_far = {n: _up_to(seed, each) for n, each in values.items() if n and min(each) <= seed}
        found = verdict(_up_to(seed, values.get(0, {})), so_far, history.job.budget.seeds)
        if found and found.stands:
            return found
    return found


def _up_to(seed: int, values: Values) -> Values:
    return {own: value for own, value in values.items() if own <= seed}


def _seeds(history: History) -> range:
    first = history.job.seed + 1
    return range(first, first + history.job.budget.seeds)


def _best_by_centers(history: History) -> dict[Value, int]:
    """Returns the best completed trial of each number of centers; none unless exactly one parameter sets it."""
    setting = [name for name, parameter in history.job.space.parameters.items() if parameter.sets_centers]
    found: dict[Value, int] = {}
    for record in history.ranked if len(setting) == 1 else []:
        if setting[0] in record.trial.params:
            found.setdefault(record.trial.params[setting[0]], record.trial.number)
    return found if len(found) > 1 else {}


def _values(history: History) -> dict[int, Values]:
    """Returns by number what counts for the verdict: the completed replicates, and the default's own value."""
    values: dict[int, dict[int, float]] = {}
    for record in history.records:
        number = record.trial.number if record.trial.replicate_of is None else record.trial.replicate_of
        picked = record.trial.replicate_of is None and number != 0
        if record.outcome is Outcome.COMPLETED and not picked:
            values.setdefault(number, {})[record.trial.seed] = history.score(record)
    return dict(values)
