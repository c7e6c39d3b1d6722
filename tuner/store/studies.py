"""Opens studies, finds those that a database holds, and says which earlier trials a new one takes over."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import InMemoryStorage

from tuner.errors import BadInput, Problem, TunerError
from tuner.files.modules import Modules
from tuner.files.provenance import made_with
from tuner.search.ask import Allowed
from tuner.search.warm_start import TransferredTrial, taken, transferred_trials
from tuner.spec.job import JobSpec
from tuner.spec.trial import Value
from tuner.store.fingerprint import differences
from tuner.store.lease import Lease
from tuner.store.retrying import connect, fence, sqlite_file
from tuner.store.store import (
    ATTEMPTS,
    BUDGET,
    CONFIG,
    CURRENT_FORMAT,
    DEFAULT,
    FINGERPRINT,
    FORMAT,
    IDENTITY,
    JOB,
    MODULES,
    ORIGIN,
    OTHER_VERSION,
    WARM_START,
    OptunaStore,
    anything,
)
from tuner.study.history import History

KEPT_ATTEMPTS = 9


def open_study(
    storage: str,
    job: JobSpec,
    fingerprint: Mapping[str, Any],
    default: Mapping[str, Value],
    fits: Allowed = anything,
    transferred: Sequence[Mapping[str, Any]] | None = None,
    config: str | None = None,
    modules: Modules | None = None,
) -> OptunaStore:
    """Returns the job's study, new or taken up; its trial 0 has the default parameters.

    No trial is drawn that breaks the space's constraints or does not fit. `transferred` is what `check_study` returned,
    `config` and `modules` what a study is started with again where the job's files are not.
    Raises BadInput when the study belongs to another job: other space, config, objective or images, and
    TunerError while another driver has it.
    """
    if transferred is None:
        transferred = check_study(storage, job, fingerprint)
    connected = connect(storage)
    lease = Lease(storage, job.name)
    fence(connected, lease.check)
    study = optuna.create_study(
        storage=connected,
        study_name=job.name,
        direction=job.objective.direction,
        load_if_exists=True,
    )
    asked = job.model_dump(mode="json")
    if study.user_attrs.get(JOB, asked)["budget"] != asked["budget"] and BUDGET in study.user_attrs:
        study.set_user_attr(BUDGET, study.user_attrs[BUDGET] | {"changes": {}})  # the job's newer word counts
    study.set_user_attr(JOB, asked)
    study.set_user_attr(FINGERPRINT, dict(fingerprint))
    study.set_user_attr(DEFAULT, dict(default))
    own = {"modules": modules.hash} if modules and modules.files else {}
    study.set_user_attr(ORIGIN, {**made_with(), **own, "data": fingerprint["data"]})
    if IDENTITY not in study.user_attrs:
        study.set_user_attr(WARM_START, list(transferred))
        study.set_user_attr(FORMAT, CURRENT_FORMAT)
        study.set_user_attr(IDENTITY, uuid.uuid4().hex)
    if config is not None:
        study.set_user_attr(CONFIG, config)
    if own and modules and (kept := modules.kept()) != study.user_attrs.get(MODULES):
        study.set_user_attr(MODULES, kept)
    store = OptunaStore(connected, job.name, lease, fits)
    study.set_user_attr(ATTEMPTS, [*study.user_attrs.get(ATTEMPTS, [])[-KEPT_ATTEMPTS:], store.progress()])
    return store


def take_over(storage: str, name: str) -> OptunaStore:
    """Returns a study that is there, to write to. Raises TunerError while another driver has it."""
    load_study(storage, name)
    lease = Lease(storage, name)
    connected = connect(storage)
    fence(connected, lease.check)
    return OptunaStore(connected, name, lease)


def delete_study(storage: str, name: str) -> None:
    """Deletes a study with its trials; the events of acting on it stay."""
    optuna.delete_study(study_name=name, storage=connect(storage))


def in_memory(
    job: JobSpec, default: Mapping[str, Value], taken_over: Sequence[Mapping[str, Any]] = ()
) -> OptunaStore:
    """Returns a study of its own that ends with the process: for simulations."""
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name=job.name, direction=job.objective.direction)
    known: dict[str, Any] = {
        JOB: job.model_dump(mode="json"),
        IDENTITY: uuid.uuid4().hex,
        ORIGIN: {},
        DEFAULT: dict(default),
    }
    known |= {FORMAT: CURRENT_FORMAT, WARM_START: list(taken_over)}
    for key, value in known.items():
        study.set_user_attr(key, value)
    return OptunaStore(storage, job.name)


def check_study(storage: str, job: JobSpec, fingerprint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns what a new study takes over from earlier ones; nothing for a study that exists.

    Raises BadInput when a study of the job's name belongs to another job or was made by another version.
    """
    if job.name not in studies(storage):
        return warm_start(storage, job)
    attributes = optuna.load_study(study_name=job.name, storage=connect(storage)).user_attrs
    if attributes.get(FORMAT) != CURRENT_FORMAT:
        raise BadInput.of(f"study {job.name}", OTHER_VERSION)
    kept = attributes.get(FINGERPRINT)
    if found := differences(kept or fingerprint, fingerprint):
        advice = "give the job another name, or take the difference back"
        raise BadInput.of(f"study {job.name} exists and belongs to another job", *found, advice)
    return []


def warm_start(storage: str, job: JobSpec) -> list[dict[str, Any]]:
    """Returns what a new study takes over from those that its job names. Raises BadInput where that is nothing.

    It is kept with the study: whatever becomes of the earlier ones, a draw stays the same.
    """
    found: list[TransferredTrial] = []
    problems: list[Problem] = []
    known = studies(storage) if job.search.warm_start_from else []
    for name in job.search.warm_start_from:
        try:
            if name not in known:
                raise _no_study(name, known)
            earlier = load_study(storage, name)
            found += transferred_trials(job, earlier.job, earlier.records())
        except BadInput as error:
            problems += error.problems
        except TunerError as error:
            problems.append(Problem(f"search.warm_start_from of job {job.name}", str(error)))
    if problems:
        raise BadInput(problems)
    return taken(found)


def load_study(storage: str, name: str) -> OptunaStore:
    """Returns a study to look at. Raises TunerError when there is none of that name."""
    if name not in (known := studies(storage)):
        raise _no_study(name, known)
    return OptunaStore(connect(storage), name)


def _no_study(name: str, known: Sequence[str]) -> TunerError:
    return TunerError(f"there is no study {name}; there are: {', '.join(known) or 'none'}")


def same_trainings(storage: str, job: JobSpec) -> list[History]:
    """Returns the studies whose trials train the same config for as long, with the same objective."""
    found = []
    for name in studies(storage):
        try:
            store = load_study(storage, name)
        except TunerError:
            continue  # another version's
        own = store.job
        if (own.config, own.objective, own.fidelity.iterations) == (
            job.config,
            job.objective,
            job.fidelity.iterations,
        ):
            found.append(History(own, store.records()))
    return found


def studies(storage: str) -> list[str]:
    """Returns the names of the studies that are there whole; asking creates no database."""
    if (file := sqlite_file(storage)) and not file.exists():
        return []
    connected = connect(storage)  # whose connections end with it
    found = connected.get_all_studies()  # Optuna's summaries would load all trials
    return sorted(study.study_name for study in found if IDENTITY in study.user_attrs)
