"""The study in Optuna's storage: the only truth about a search."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import optuna
import pydantic
from optuna.trial import FrozenTrial, TrialState

from tuner.errors import BadInput, Problem, TunerError
from tuner.export import made_with
from tuner.job import JobSpec
from tuner.search.drawing import REPEATS, Allowed, decided, draw, sketch
from tuner.search.evidence import Evidence, Lesson, lessons, taken
from tuner.search.failures import OUTCOME, Failures
from tuner.search.fingerprint import differences
from tuner.search.lease import Lease
from tuner.search.nsga import COST
from tuner.search.patience import connect, patiently, sqlite_file
from tuner.search.sampling import Best, seen
from tuner.space import Params
from tuner.trial import Measurement, Outcome, Record, Trial, Value

optuna.logging.set_verbosity(optuna.logging.WARNING)

STATES = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}
JOB, FINGERPRINT, IDENTITY, ORIGIN, DEFAULT = "job", "fingerprint", "id", "origin", "default"
EVIDENCE = "evidence"
MEASUREMENT, NOTE = "measurement.", "note"
SEED = "seed"


def _anything(_: Params) -> bool:
    return True


class OptunaStore:
    """A study.Store. The job is kept with the study, so that it can be shown by its name alone."""

    def __init__(self, study: optuna.Study, lease: Lease | None = None, fits: Allowed = _anything) -> None:
        self._study = study
        self._study.sampler = optuna.samplers.RandomSampler()  # else Optuna's draws at each measurement
        self.lease = lease
        """The driver's; who only looks needs none."""
        self.job = _job(study)
        self.id: str = study.user_attrs[IDENTITY]
        self.origin: dict[str, Any] = study.user_attrs[ORIGIN]
        self.default: dict[str, Value] = study.user_attrs[DEFAULT]
        self._fits = fits
        self._evidence = Evidence(self.job, study.user_attrs.get(EVIDENCE, []))
        self._failures = Failures(self.job.space)
        self._failures.see(study.get_trials(deepcopy=False))
        self._best = Best(self.job.objective)
        for trial in study.get_trials(deepcopy=False):
            self._best.add(trial)

    def driven(self) -> AbstractContextManager[None]:
        """While the study runs: keeps other drivers away."""
        return self.lease.kept() if self.lease else nullcontext()

    def records(self) -> list[Record]:
        return [self._record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def draw(self) -> Trial:
        """The default first. A trial is written when it is decided, whole and at once."""
        known = self._study.get_trials(deepcopy=False)
        if not known:
            drawn = decided(sketch(0), self.default, self.job.space)
        else:
            own = seen(known, self._best.numbers)
            shown = [*self._evidence.shown(own), *own]
            drawn = draw(self._study, self.job, shown, self._allows, self._failures)
        self._renew()
        self._study.add_trial(drawn)
        return self._record(self._frozen(len(known))).trial

    def repeat(self, number: int, seed: int) -> Trial:
        known = self._study.get_trials(deepcopy=False)
        again = decided(sketch(len(known)), known[number].params, self.job.space)
        again.user_attrs = {REPEATS: number, SEED: seed}
        self._renew()
        self._study.add_trial(again)
        return self._record(self._frozen(again.number)).trial

    def measured(self, number: int, measurement: Measurement) -> None:
        """The attribute is written last: by it the study knows a measurement."""
        self._renew()
        trial = optuna.Trial(self._study, self._frozen(number)._trial_id)
        if measurement.iteration not in self._frozen(number).intermediate_values:
            trial.report(measurement.metrics[self.job.objective.metric], measurement.iteration)
        facts = {
            "metrics": dict(measurement.metrics),
            "seconds": measurement.seconds,
            "conditions": dict(measurement.conditions),
        }
        trial.set_user_attr(f"{MEASUREMENT}{measurement.iteration}", facts)

    def ended(self, number: int, outcome: Outcome, note: str) -> None:
        self._renew()
        values = self._frozen(number).intermediate_values
        trial = optuna.Trial(self._study, self._frozen(number)._trial_id)
        trial.set_user_attr(OUTCOME, outcome.value)
        if note:
            trial.set_user_attr(NOTE, note)
        cost = self._record(self._frozen(number)).value(self.job.objective.cost or "")
        if cost is not None:
            trial.set_user_attr(COST, cost)
        final = values[max(values)] if outcome is Outcome.COMPLETED else None
        self._study.tell(number, final, state=STATES.get(outcome, TrialState.FAIL))
        self._best.add(self._frozen(number))
        self._failures.see([self._frozen(number)])

    def _renew(self) -> None:
        if self.lease:
            patiently(self.lease.renew)()

    def _allows(self, params: Params) -> bool:
        return self.job.space.allows(params) and self._fits(params)

    def _frozen(self, number: int) -> FrozenTrial:
        storage, study = self._study._storage, self._study._study_id
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study, number))

    def _record(self, trial: FrozenTrial) -> Record:
        attrs = trial.user_attrs
        params = {name: trial.params[name] for name in self.job.space.parameters if name in trial.params}
        return Record(
            trial=Trial(trial.number, params, attrs.get(SEED, self.job.seed), attrs.get(REPEATS)),
            outcome=Outcome(attrs[OUTCOME]) if trial.state.is_finished() else None,
            measurements=_measurements(attrs),
            started=trial.datetime_start,
            ended=trial.datetime_complete,
            note=attrs.get(NOTE, ""),
        )


def _job(study: optuna.Study) -> JobSpec:
    """Raises TunerError when a later version of the tuner has kept it."""
    try:
        return JobSpec.model_validate(study.user_attrs[JOB])
    except pydantic.ValidationError as error:
        keys = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise TunerError(
            f"study {study.study_name} is of another version of the tuner: it cannot read {keys} of its job"
        ) from error


def open_study(
    storage: str,
    job: JobSpec,
    fingerprint: Mapping[str, Any],
    default: Mapping[str, Value],
    fits: Allowed = _anything,
) -> OptunaStore:
    """The job's study, new or taken up; its trial 0 has the default parameters.

    No trial is drawn that breaks the space's constraints or does not fit.
    Raises BadInput when the study belongs to another job: other space, config, objective or pictures, and
    TunerError while another driver has it.
    """
    check_study(storage, job, fingerprint)
    connected = connect(storage)
    lease = Lease(storage, job.name)
    study = optuna.create_study(
        storage=connected,
        study_name=job.name,
        direction=job.objective.direction,
        load_if_exists=True,
    )
    study.set_user_attr(JOB, job.model_dump(mode="json"))
    study.set_user_attr(FINGERPRINT, dict(fingerprint))
    study.set_user_attr(DEFAULT, dict(default))
    study.set_user_attr(ORIGIN, {**made_with(), "data": fingerprint["data"]})
    if IDENTITY not in study.user_attrs:
        study.set_user_attr(EVIDENCE, evidence(storage, job))
        study.set_user_attr(IDENTITY, uuid.uuid4().hex)
    return OptunaStore(study, lease, fits)


def in_memory(
    job: JobSpec, default: Mapping[str, Value], taken_over: Sequence[Mapping[str, Any]] = ()
) -> OptunaStore:
    """A study of its own that ends with the process: for simulations."""
    study = optuna.create_study(direction=job.objective.direction)
    known = {JOB: job.model_dump(mode="json"), IDENTITY: uuid.uuid4().hex, ORIGIN: {}, DEFAULT: dict(default)}
    for key, value in (known | {EVIDENCE: taken_over}).items():
        study.set_user_attr(key, value)
    return OptunaStore(study)


def check_study(storage: str, job: JobSpec, fingerprint: Mapping[str, Any]) -> None:
    """Raises BadInput when a study of the job's name belongs to another job, or a new one has no evidence."""
    if job.name not in studies(storage):
        evidence(storage, job)
        return
    kept = optuna.load_study(study_name=job.name, storage=connect(storage)).user_attrs.get(FINGERPRINT)
    if found := differences(kept or fingerprint, fingerprint):
        advice = "give the job another name, or take the difference back"
        raise BadInput.of(f"study {job.name} exists and belongs to another job", *found, advice)


def evidence(storage: str, job: JobSpec) -> list[dict[str, Any]]:
    """What a new study takes over from those that its job names. Raises BadInput where that is nothing.

    It is kept with the study: whatever becomes of the earlier ones, a draw stays the same.
    """
    found: list[Lesson] = []
    problems: list[Problem] = []
    for name in job.search.earlier:
        try:
            earlier = load_study(storage, name)
            found += lessons(job, earlier.job, earlier.records())
        except BadInput as error:
            problems += error.problems
        except TunerError as error:
            problems.append(Problem(f"search.from of job {job.name}", str(error)))
    if problems:
        raise BadInput(problems)
    return taken(found)


def load_study(storage: str, name: str) -> OptunaStore:
    """Raises TunerError when there is none of that name."""
    if name not in (known := studies(storage)):
        raise TunerError(f"there is no study {name}; there are: {', '.join(known) or 'none'}")
    return OptunaStore(optuna.load_study(study_name=name, storage=connect(storage)))


def studies(storage: str) -> list[str]:
    """The names of the studies that are there whole; asking creates no database."""
    if (file := sqlite_file(storage)) and not file.exists():
        return []
    found = optuna.get_all_study_summaries(connect(storage), include_best_trial=False)
    return sorted(summary.study_name for summary in found if IDENTITY in summary.user_attrs)


def _measurements(attrs: Mapping[str, Any]) -> tuple[Measurement, ...]:
    found = {
        int(key.removeprefix(MEASUREMENT)): facts
        for key, facts in attrs.items()
        if key.startswith(MEASUREMENT)
    }
    return tuple(Measurement(i, **found[i]) for i in sorted(found))
