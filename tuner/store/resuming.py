"""Finds the studies of a database that nobody drives, so that anything may start them again: cron, a boot script."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuner.files.modules import Modules
from tuner.spec.job import JobSpec
from tuner.store.lease import driver
from tuner.store.requests import held
from tuner.store.store import ATTEMPTS, CONFIG, OptunaStore
from tuner.store.studies import load_study, studies
from tuner.study.history import History
from tuner.study.replication import is_over

PATIENCE = 3
"""A study that was started this many times without any progress is left to a person."""


@dataclass(frozen=True)
class Found:
    """Holds a study's job and config as they were accepted."""

    job: JobSpec
    config: str
    """The text of the config, with its `_base_` files merged."""
    modules: Modules
    """The user's own modules that the config imports."""
    left_alone: str | None
    """Why the study is not to be started; None if it is."""


def found(storage: str, names: Sequence[str] = ()) -> Iterator[Found]:
    """Yields the named studies, or all. One that makes no progress is started only by name.

    Raises TunerError for a name that the database does not have.
    """
    for name in names or studies(storage):
        store = load_study(storage, name)
        attributes = store.optuna_study.user_attrs
        config, left_alone = attributes.get(CONFIG, ""), _left_alone(store, storage, named=bool(names))
        yield Found(store.job, config, store.modules, left_alone)


def _left_alone(store: OptunaStore, storage: str, named: bool) -> str | None:
    if is_over(History(store.job, store.records())):
        return "it is over"
    if by := driver(storage, store.job.name):
        return f"{by} drives it"
    if CONFIG not in store.optuna_study.user_attrs:
        return "it was begun by a version that kept no config: run its job file"
    if not named and (holding := held(storage, store.job.name)):
        return f"{holding.who} asked it to {holding.kind}: resume it by name"
    last = store.optuna_study.user_attrs.get(ATTEMPTS, [])[-PATIENCE:]
    if not named and last == [store.progress()] * PATIENCE:
        return f"it was started {PATIENCE} times without progress: see its log, then resume it by name"
    return None
