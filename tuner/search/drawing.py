"""A trial is drawn on a sketch: what is not allowed is drawn again, and only the trial itself is written."""

from collections.abc import Callable, Container
from copy import copy
from datetime import datetime
from random import Random
from typing import Any, TypeAlias

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.errors import TunerError
from tuner.job import JobSpec, Search
from tuner.search.failures import OUTCOME, STILL_DRAWN, Failures, outcome
from tuner.search.nsga import with_cost
from tuner.search.sampling import distributions, sampler
from tuner.space import Params, Space
from tuner.trial import Value

ATTEMPTS = 1000
SEEDS = 2**31
"""Every job's seed is smaller."""
FRESH = 10
"""So often NSGA-II, which likes to draw what it drew before, is asked for something new, and then chance."""
NOT_WRITTEN = -1
AGAIN = -2
"""The number of a sketch that is drawn once more."""
REPEATS = "repeats"
"""The attribute of a trial that is another one trained again: that one's number."""

Allowed: TypeAlias = Callable[[Params], bool]


def draw(
    study: optuna.Study, job: JobSpec, seen: list[FrozenTrial], allowed: Allowed, failures: Failures
) -> FrozenTrial:
    """The first draw that is allowed, of a row of seeds that follows from the job's seed and the number.

    `seen` is what the sampler looks at, the latest trial last. What was turned down it sees as trials that
    run just now, so that it looks elsewhere: else it would take the part of the space where nothing is
    allowed for one that nobody has tried yet.
    Raises TunerError when no draw is allowed.
    """
    number = seen[-1].number + 1 if seen else 0
    daring = Random(f"{job.seed}/{number}").random()
    aimless = job.model_copy(update={"search": Search(sampler="random")})
    is_daring = job.search.sampler != "grid" and daring < failures.largest_share
    weighs_costs = job.search.sampler == "nsga2"
    shown = [with_cost(_lesson(trial)) if weighs_costs else _lesson(trial) for trial in seen]
    for attempt in range(ATTEMPTS):
        is_aimless = is_daring or (weighs_costs and attempt >= FRESH)
        trial = sketch(number if attempt == 0 else AGAIN)  # a grid's first try goes by the number
        ours = optuna.load_study(
            study_name=study.study_name,
            storage=_Desk(study._storage, trial, shown, weighs_costs),  # type: ignore[arg-type]
            sampler=sampler(aimless if is_aimless else job, job.seed + attempt * SEEDS, number),
        )
        params = _params(ours, trial, job.space)
        keeps_away = job.search.sampler != "grid" and daring >= failures.share(params)
        is_known = weighs_costs and attempt < 2 * FRESH and any(params == each.params for each in seen)
        if allowed(params) and not keeps_away and not is_known:
            return decided(trial, params, job.space)
        turned_down = decided(sketch(number + 1 + attempt), params, job.space)
        turned_down.system_attrs = trial.system_attrs
        shown.append(turned_down)
    raise TunerError(
        f"study {job.name}: of {ATTEMPTS} draws for trial {number} none was allowed: "
        "the space's constraints leave next to nothing of it; loosen them or narrow its ranges"
    )


def sketch(number: int) -> FrozenTrial:
    """A trial that is in no storage."""
    return FrozenTrial(
        number=number,
        trial_id=NOT_WRITTEN,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def decided(trial: FrozenTrial, params: Params, space: Space) -> FrozenTrial:
    known = distributions(space)
    trial.params = dict(params)
    trial.distributions = {name: known[name] for name in params}
    return trial


def _params(study: optuna.Study, trial: FrozenTrial, space: Space) -> dict[str, Value]:
    """As Optuna's own `ask` has them; a parameter whose condition does not hold is left out."""
    study.sampler.before_trial(study, trial)
    together = study.sampler.infer_relative_search_space(study, trial)
    relative = study.sampler.sample_relative(study, trial, together)
    params: dict[str, Value] = {}
    for name, distribution in distributions(space).items():
        parameter = space.parameters[name]
        if not space.counts(name, params):
            continue
        if parameter.only is not None:
            params[name] = parameter.only
        elif name in relative and parameter.contains(relative[name]):
            params[name] = relative[name]
        else:
            params[name] = study.sampler.sample_independent(study, trial, name, distribution)
    return params


class _Desk:
    """A storage as a sampler uses it: what it notes about the sketch stays with the sketch.

    The study itself has one objective; to weigh costs, a sampler sees two.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        trial: FrozenTrial,
        shown: list[FrozenTrial],
        weighs_costs: bool,
    ) -> None:
        self._storage = storage
        self._trial = trial
        self._shown = shown
        self._costs = [StudyDirection.MINIMIZE] if weighs_costs else []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [*self._storage.get_study_directions(study_id), *self._costs]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        assert trial_id == NOT_WRITTEN
        self._trial.system_attrs[key] = value


def _lesson(trial: FrozenTrial) -> FrozenTrial:
    """A trial as samplers see it: they ignore what failed, but keep away from what breaks a constraint.

    A repeat would have its parameters count several times: it is to be ignored.
    """
    is_repeat = REPEATS in trial.user_attrs
    if not is_repeat and outcome(trial) not in STILL_DRAWN:
        return trial
    lesson = copy(trial)
    if is_repeat:
        lesson.state = TrialState.FAIL
        return lesson
    lesson.state, lesson.intermediate_values = TrialState.PRUNED, {}
    lesson.system_attrs = dict(trial.system_attrs)
    lesson.set_constraint(OUTCOME, 1.0)
    return lesson
