"""Keeps a study in Optuna's storage, the only truth about a search."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import optuna
import pydantic
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tuner.errors import TunerError
from tuner.files.modules import Modules, from_kept
from tuner.search.ask import OUTCOME, REPLICATE_OF, Allowed, decided, draw
from tuner.search.nsga import COST
from tuner.search.samplers import Best, seen
from tuner.search.warm_start import WarmStart
from tuner.spec.initial_points import initial_points
from tuner.spec.job import Budget, JobSpec
from tuner.spec.space import Params
from tuner.spec.trial import Measurement, Outcome, Record, Trial, Value
from tuner.store.lease import Lease

optuna.logging.set_verbosity(optuna.logging.WARNING)

STATES = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}
JOB, FINGERPRINT, IDENTITY, ORIGIN, DEFAULT = "job", "fingerprint", "id", "origin", "default"
WARM_START, CONFIG, MODULES = "warm_start", "config", "modules"
BUDGET, REQUEST = "budget", "request"
"""The attributes that hold what was asked of a running study: another budget, and which request a trial is for."""
ATTEMPTS = "attempts"
"""The attribute that holds the study's progress at the start of each of its latest drivers."""
MEASUREMENT, NOTE = "measurement.", "note"
SEED = "seed"
FORMAT, CURRENT_FORMAT = "format", 4
"""The attribute that says how a study is kept; another number is another version of the tuner."""
OTHER_VERSION = (
    "was made by another version of the tuner, which names things differently: finish it with that version, "
    "or give the job another name"
)


def anything(_: Params) -> bool:
    return True


class OptunaStore:
    """Implements study.Store; the job is kept with the study, so that a study can be shown by its name alone."""

    def __init__(
        self, storage: BaseStorage, name: str, lease: Lease | None = None, fits: Allowed = anything
    ) -> None:
        self.storage = storage
        self.optuna_study = study = optuna.load_study(study_name=name, storage=storage)
        self._storages_id = storage.get_study_id_from_name(name)
        self.lease = lease
        """The driver's; who only looks needs none."""
        self.job = _job(study)
        self.id: str = study.user_attrs[IDENTITY]
        self.origin: dict[str, Any] = study.user_attrs[ORIGIN]
        self.default: dict[str, Value] = study.user_attrs[DEFAULT]
        self._fits = fits
        points = [point for point in initial_points(self.job, self.default) if self._allows(point)]
        self._first = [self.default, *points]
        """The parameters of the first trials, before the sampler draws."""
        self._warm_start = WarmStart(self.job, study.user_attrs.get(WARM_START, []))
        self._best = Best(self.job.objective)
        for trial in study.get_trials(deepcopy=False):
            self._best.add(trial)

    @property
    def modules(self) -> Modules:
        """Returns the user's own modules that the config imports."""
        return from_kept(self.optuna_study.user_attrs.get(MODULES))

    @property
    def attempt(self) -> int:
        """Returns the number of the attempt at the study that this is, from 1."""
        return self.lease.attempt if self.lease else 1

    def driven(self) -> AbstractContextManager[None]:
        """Keeps other drivers away while the study runs."""
        return self.lease.kept() if self.lease else nullcontext()

    def records(self) -> list[Record]:
        return [self._record(trial) for trial in self.optuna_study.get_trials(deepcopy=False)]

    def progress(self) -> int:
        """Returns a number that grows with everything that is learnt of a trial."""
        return sum(len(record.measurements) + (record.outcome is not None) for record in self.records())

    def draw(self) -> Trial:
        """Returns the default first, then the initial points. A trial is written when it is decided, at once."""
        known = self.optuna_study.get_trials(deepcopy=False)
        searched = sum(not {REPLICATE_OF, REQUEST} & trial.user_attrs.keys() for trial in known)
        if searched < len(self._first):
            drawn = decided(self._first[searched], self.job.space)
        else:
            own = seen(known, self._best.numbers)
            shown = [*self._warm_start.shown(own), *own]
            drawn = draw(self.job, shown, self._allows)
        self.optuna_study.add_trial(drawn)
        return self._record(self._frozen(len(known))).trial

    def replicate(self, number: int, seed: int) -> Trial:
        known = self.optuna_study.get_trials(deepcopy=False)
        again = decided(known[number].params, self.job.space, **{REPLICATE_OF: number, SEED: seed})
        self.optuna_study.add_trial(again)
        return self._record(self._frozen(len(known))).trial

    def add(self, params: Params, request: int) -> Trial:
        """Returns the trial that a request asks for; asked again, the same."""
        known = self.optuna_study.get_trials(deepcopy=False)
        for trial in known:
            if trial.user_attrs.get(REQUEST) == request:
                return self._record(trial).trial
        self.optuna_study.add_trial(decided(params, self.job.space, **{REQUEST: request}))
        return self._record(self._frozen(len(known))).trial

    def change_budget(self, wanted: Mapping[str, str], request: int) -> Budget:
        """Returns the budget with a request's changes, by key: a number, or +number; asked again, they count once."""
        kept = self.optuna_study.user_attrs.get(BUDGET, {"changes": {}, "taken": []})
        if request not in kept["taken"]:
            budget = changed(self.job.budget, wanted)
            new = {key: getattr(budget, key) for key in wanted}
            kept = {"changes": kept["changes"] | new, "taken": [*kept["taken"], request]}
            self.optuna_study.set_user_attr(BUDGET, kept)
            self.job = self.job.model_copy(update={"budget": budget})
        return self.job.budget

    def measured(self, number: int, measurement: Measurement) -> None:
        """Writes a measurement down, the attribute last: by it the study knows the measurement."""
        trial, iteration = self._trial_id(number), measurement.iteration
        if iteration not in self._frozen(number).intermediate_values:
            value = float(measurement.metrics[self.job.objective.metric])
            self.storage.set_trial_intermediate_value(trial, iteration, value)
        facts = {
            "metrics": dict(measurement.metrics),
            "seconds": measurement.seconds,
            "system_metrics": dict(measurement.system_metrics),
            "losses": [list(point) for point in measurement.losses],
            "seconds_lost": measurement.seconds_lost,
        }
        self.storage.set_trial_user_attr(trial, f"{MEASUREMENT}{iteration}", facts)

    def ended(self, number: int, outcome: Outcome, note: str) -> None:
        values = self._frozen(number).intermediate_values
        trial = self._trial_id(number)
        self.storage.set_trial_user_attr(trial, OUTCOME, outcome.value)
        if note:
            self.storage.set_trial_user_attr(trial, NOTE, note)
        cost = self._record(self._frozen(number)).value(self.job.objective.cost or "")
        if cost is not None:
            self.storage.set_trial_user_attr(trial, COST, cost)
        final = values[max(values)] if outcome is Outcome.COMPLETED else None
        self.optuna_study.tell(number, final, state=STATES.get(outcome, TrialState.FAIL))
        self._best.add(self._frozen(number))

    def _allows(self, params: Params) -> bool:
        return self.job.space.allows(params) and self._fits(params)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.storage.get_trial(self._trial_id(number))

    def _trial_id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._storages_id, number)

    def _record(self, trial: FrozenTrial) -> Record:
        attrs = trial.user_attrs
        params = {name: trial.params[name] for name in self.job.space.parameters if name in trial.params}
        return Record(
            trial=Trial(trial.number, params, attrs.get(SEED, self.job.seed), attrs.get(REPLICATE_OF)),
            outcome=Outcome(attrs[OUTCOME]) if trial.state.is_finished() else None,
            measurements=_measurements(attrs),
            started=trial.datetime_start,
            ended=trial.datetime_complete,
            note=attrs.get(NOTE, ""),
        )


def changed(budget: Budget, wanted: Mapping[str, str]) -> Budget:
    """Returns a budget with some keys changed: to a number, or by +number. Raises pydantic.ValidationError."""
    new = {
        key: (getattr(budget, key) or 0) + type(getattr(budget, key) or 0)(value)
        if value[0] == "+"
        else value
        for key, value in wanted.items()
    }
    return Budget.model_validate(budget.model_dump() | new)


def _job(study: optuna.Study) -> JobSpec:
    """Returns the study's job, with the budget that was asked for since.

    Raises TunerError when another version of the tuner has made the study.
    """
    if study.user_attrs.get(FORMAT) != CURRENT_FORMAT:
        raise TunerError(f"study {study.study_name}: {OTHER_VERSION}")
    try:
        job = study.user_attrs[JOB]
        budget = job["budget"] | study.user_attrs.get(BUDGET, {}).get("changes", {})
        return JobSpec.model_validate(job | {"budget": budget})
    except pydantic.ValidationError as error:
        keys = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise TunerError(
            f"study {study.study_name} is of another version of the tuner: it cannot read {keys} of its job"
        ) from error


def _measurements(attrs: Mapping[str, Any]) -> tuple[Measurement, ...]:
    found = {
        int(key.removeprefix(MEASUREMENT)): facts
        for key, facts in attrs.items()
        if key.startswith(MEASUREMENT)
    }
    return tuple(Measurement(i, **found[i]) for i in sorted(found))
