"""Asks something of a study: its driver takes it up, or it is done here where nobody drives the study."""

from collections.abc import Mapping
from typing import Any

from tuner.search.scheduling import scheduler_for
from tuner.store.lease import driver
from tuner.store.requests import Acting, Kind, ask, checked, requests
from tuner.store.studies import load_study, studies, take_over
from tuner.store.summaries import forget
from tuner.study.study import Study


def act(storage: str, study: str, kind: Kind, value: Mapping[str, Any]) -> str:
    """Returns what came of it, or who takes it up.

    Raises BadInput where it cannot be done, TunerError where there is no such study.
    """
    ask(storage, study, kind, checked(load_study(storage, study), kind, value))
    if busy := driver(storage, study):
        return f"asked: {busy} takes it up within 10 s, `tuner events {study}` says what came of it"
    store = take_over(storage, study)
    with store.driven():
        Acting(storage, store, Study(store.job, store, scheduler_for), lambda _: None).take_up()
    forget(storage, study)
    return requests(storage, study)[-1].answer or "asked: the next driver takes it up"


def note_stop(storage: str, study: str) -> None:
    """Notes that a study is being stopped: nothing but its name or its job starts it again."""
    if study in studies(storage):
        ask(storage, study, "stop", {})
