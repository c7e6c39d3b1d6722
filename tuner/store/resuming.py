"""Says which studies of a database are to be started again, by anything: cron, a boot script, the same command."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tuner.errors import AskedToLeave, StillRuns, TunerError
from tuner.files.modules import Modules
from tuner.spec.job import JobSpec
from tuner.store.lease import driver
from tuner.store.requests import held
from tuner.store.store import ATTEMPTS, CONFIG, JOB, OptunaStore
from tuner.store.studies import load_study, studies
from tuner.study.history import History
from tuner.study.replication import is_over

PATIENCE = 3
"""A study that was started this many times without any progress is left to a person."""


@dataclass(frozen=True)
class CutOff:
    """Is to be started again; it holds the study's job and config as they were accepted."""

    job: JobSpec
    config: str
    """The text of the config, with its `_base_` files merged."""
    modules: Modules
    """The user's own modules that the config imports."""


@dataclass(frozen=True)
class LeftAlone:
    """Is not to be started."""

    why: str


@dataclass(frozen=True)
class Resumed:
    """Says what became of a study that was to be started again."""

    study: str
    ending: str
    is_failure: bool = False


def resumed(storage: str, names: Sequence[str], start: Callable[[CutOff], str]) -> Iterator[Resumed]:
    """Has the named studies started, or all that were cut off; `start` returns what became of one.

    One that cannot be started is told as the others are. Raises AskedToLeave where that was meant for this process.
    """
    for name in names or studies(storage):
        try:
            yield Resumed(name, _resumed(found(storage, name, bool(names)), start))
        except AskedToLeave:
            raise
        except TunerError as error:
            yield Resumed(name, f"could not be started: {error}", is_failure=True)


def _resumed(study: CutOff | LeftAlone, start: Callable[[CutOff], str]) -> str:
    match study:
        case LeftAlone(why):
            return f"left alone: {why}"
        case CutOff():
            try:
                return start(study)
            except StillRuns as error:
                return f"left alone: {error}"


def found(storage: str, name: str, is_named: bool) -> CutOff | LeftAlone:
    """Returns what is to be done with a study. One that makes no progress is started only where a person names it.

    Raises TunerError for a name that the database does not have, or a named study of another version's.
    """
    try:
        store = load_study(storage, name)
    except TunerError as error:
        if is_named:
            raise
        return LeftAlone(str(error))
    if why := _why_left_alone(store, storage, is_named):
        return LeftAlone(why)
    return CutOff(store.job, store.optuna_study.user_attrs[CONFIG], store.modules)


def has_ended(storage: str, job: JobSpec) -> bool:
    """Tells whether a study has done all that the job asks for, so that running it again would train nothing."""
    if job.name not in studies(storage):
        return False
    store = load_study(storage, job.name)
    is_asked_anew = store.optuna_study.user_attrs[JOB] != job.model_dump(mode="json")
    return not is_asked_anew and is_over(History(store.job, store.records()))


def _why_left_alone(store: OptunaStore, storage: str, is_named: bool) -> str | None:
    if is_over(History(store.job, store.records())):
        return "it is over"
    if by := driver(storage, store.job.name):
        return f"{by} drives it"
    if CONFIG not in store.optuna_study.user_attrs:
        return "it was begun by a version that kept no config: run its job file"
    if not is_named and (holding := held(storage, store.job.name)):
        return f"{holding.who} asked it to {holding.kind}: resume it by name"
    last = store.optuna_study.user_attrs.get(ATTEMPTS, [])[-PATIENCE:]
    if not is_named and last == [store.progress()] * PATIENCE:
        return f"it was started {PATIENCE} times without progress: see its log, then resume it by name"
    return None
