"""Proposes trials: each is drawn in a throw-away study in memory, and only an accepted one is stored."""

from collections.abc import Callable
from copy import copy
from typing import Any, TypeAlias, cast

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.errors import TunerError
from tuner.search.nsga import with_cost
from tuner.search.samplers import distributions, sampler
from tuner.spec.job import JobSpec, Search
from tuner.spec.space import ChoiceParameter, FloatParameter, Params, Space
from tuner.spec.trial import Outcome, Value

ATTEMPTS = 1000
SEEDS = 2**31
"""Every job's seed is smaller."""
FRESH = 10
"""NSGA-II tends to repeat itself: this many times it is asked for something new, and then random sampling is."""
OUTCOME = "outcome"
"""The attribute of an ended trial that says how it ended."""
INFEASIBLE = (Outcome.OUT_OF_MEMORY, Outcome.DIVERGED)
"""Outcomes that samplers see as broken constraints; a crash teaches nothing."""
REPLICATE_OF = "replicate_of"
"""The attribute of a trial that is another one trained again: that one's number."""

Allowed: TypeAlias = Callable[[Params], bool]


def draw(job: JobSpec, seen: list[FrozenTrial], allowed: Allowed) -> FrozenTrial:
    """Returns the first draw that is allowed, of a row of seeds that follows from the job's seed and the number.

    `seen` is what the sampler looks at, the latest trial last. What was turned down it sees as trials that
    run just now, so that it looks elsewhere: else it would take the part of the space where nothing is
    allowed for one that nobody has tried yet.
    Raises TunerError when no draw is allowed.
    """
    number = seen[-1].number + 1
    aimless = job.model_copy(update={"search": Search(sampler="random")})
    weighs_costs = job.search.sampler == "nsga2"
    study = _study(job, seen)
    for attempt in range(ATTEMPTS):
        is_aimless = weighs_costs and attempt >= FRESH
        study.sampler = sampler(aimless if is_aimless else job, job.seed + attempt * SEEDS, number)
        params = _suggested(study.ask(), job.space)
        is_known = weighs_costs and attempt < 2 * FRESH and any(params == each.params for each in seen)
        if allowed(params) and not is_known:
            return study.get_trials(deepcopy=False)[-1]
    raise TunerError(
        f"study {job.name}: of {ATTEMPTS} draws for trial {number} none was allowed: "
        "the space's constraints leave next to nothing of it; loosen them or narrow its ranges"
    )


def decided(params: Params, space: Space, **attributes: Any) -> FrozenTrial:
    """Returns a trial that begins to run, with its parameters and user attributes; it is in no study yet."""
    known = distributions(space)
    return create_trial(
        state=TrialState.RUNNING,
        params=dict(params),
        distributions={name: known[name] for name in params},
        user_attrs=attributes,
    )


def _study(job: JobSpec, seen: list[FrozenTrial]) -> optuna.Study:
    """Returns a study in memory that shows a sampler the past; to weigh costs, a sampler sees two objectives.

    A replicate is left out, as its parameters would count several times, and where trials are screened what was not
    finished: who is shown how they began learns the early signal's bias, and searches where trials begin well.
    """
    directions = [StudyDirection[job.objective.direction.upper()]]
    past = [trial for trial in seen if REPLICATE_OF not in trial.user_attrs]
    if job.search.sampler == "random":
        past = []
    if job.search.scheduler == "screen":
        past = _without_beginnings(past)
    if job.search.sampler == "nsga2":
        directions.append(StudyDirection.MINIMIZE)
        past = [with_cost(trial) for trial in past if trial.state is TrialState.COMPLETE]
    study = optuna.create_study(directions=directions)
    study.add_trials(map(_view, past))
    return study


def _suggested(trial: optuna.Trial, space: Space) -> dict[str, Value]:
    """Asks for each parameter whose condition holds; the others are left out."""
    params: dict[str, Value] = {}
    for name, parameter in space.parameters.items():
        if not space.counts(name, params):
            continue
        match parameter:
            case ChoiceParameter(choices=choices):
                params[name] = cast("Value", trial.suggest_categorical(name, choices))
            case FloatParameter(low=low, high=high):
                params[name] = trial.suggest_float(name, low, high, step=parameter.step, log=parameter.log)
            case _:
                params[name] = trial.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    return params


def _without_beginnings(past: list[FrozenTrial]) -> list[FrozenTrial]:
    """Leaves out the trials that were not finished; where some broke a constraint, they stay, but without a value.

    Samplers that knew no other feasible trials would take those that broke it for the best.
    """
    if any(trial.user_attrs.get(OUTCOME) in INFEASIBLE for trial in past):
        return [_begun(trial) if trial.intermediate_values else trial for trial in past]
    return [trial for trial in past if trial.state is not TrialState.PRUNED]


def _begun(trial: FrozenTrial) -> FrozenTrial:
    if trial.state not in (TrialState.RUNNING, TrialState.PRUNED):
        return trial
    shown = copy(trial)
    shown.state, shown.intermediate_values = TrialState.PRUNED, {}
    shown.datetime_complete = trial.datetime_start
    return shown


class _View(FrozenTrial):
    """Is a past trial as samplers see it; Optuna's study in memory copies what it gets, here without its parts.

    Nobody changes a past trial, and copying its parts took longer than the sampler's own work.
    """

    def __deepcopy__(self, memo: object) -> "_View":
        return copy(self)


def _view(trial: FrozenTrial) -> FrozenTrial:
    """Returns a trial as samplers see it: they ignore what failed, but keep away from what breaks a constraint.

    No sampler reads user attributes.
    """
    view = _View.__new__(_View)
    vars(view).update(vars(trial), user_attrs={})
    if trial.user_attrs.get(OUTCOME) in INFEASIBLE:
        view.state, view.intermediate_values = TrialState.PRUNED, {}
        view.system_attrs = dict(trial.system_attrs)
        view.set_constraint(OUTCOME, 1.0)
    return view
