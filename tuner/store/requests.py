"""Keeps what people ask of a study in its database, where its driver takes it up.

What a request changes carries the request's number, so that after a kill between the change and the tick nothing is
done twice; what has no tick is taken up by the next driver.
"""

import getpass
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, cast

from sqlalchemy import Column, Engine, Float, Integer, MetaData, String, Table, Text, create_engine, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tuner.errors import BadInput
from tuner.spec.initial_points import asked_point
from tuner.store.lease import now
from tuner.store.retrying import patiently
from tuner.store.store import OptunaStore, changed
from tuner.study.study import Study

Kind: TypeAlias = Literal["stop trial", "add", "budget", "pause", "stop", "resume"]
HOLDING = ("pause", "stop")
"""The kinds that have a study left alone until somebody resumes it."""

rows = Table(
    "tuner_requests",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("study", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("value", Text, nullable=False),
    Column("who", String(200), nullable=False),
    Column("asked", Float(53), nullable=False),
    Column("answer", Text),
)


@dataclass(frozen=True)
class Request:
    """Holds what somebody asked of a study."""

    number: int
    kind: Kind
    value: Mapping[str, Any]
    who: str
    asked: datetime
    answer: str | None
    """What came of it; None until a driver has taken it up."""


def checked(store: OptunaStore, kind: Kind, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what is asked for, complete. Raises BadInput."""
    source = f"study {store.job.name}"
    if kind == "add":
        return asked_point(store.job, value, store.default)
    if kind == "budget":
        try:
            changed(store.job.budget, value)
        except (ValueError, AttributeError) as error:
            raise BadInput.of(source, f"budget: {' '.join(str(error).splitlines()[:3])}") from error
    if kind == "stop trial" and value["trial"] not in {each.trial.number for each in store.records()}:
        raise BadInput.of(
            source, f"has no trial {value['trial']}: `tuner status {store.job.name}` lists them"
        )
    return value


def ask(storage: str, study: str, kind: Kind, value: Mapping[str, Any], answer: str | None = None) -> None:
    """Writes a request down."""
    engine = _engine(storage)
    with suppress(DBAPIError):  # another process makes the table just now
        rows.create(engine, checkfirst=True)
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    with engine.begin() as connection:
        row = {"study": study, "kind": kind, "value": json.dumps(dict(value)), "who": who, "answer": answer}
        connection.execute(rows.insert().values(**row, asked=now(connection)))


def requests(storage: str, study: str) -> list[Request]:
    """Lists what was asked of a study, the oldest first."""
    engine = _engine(storage)
    with engine.connect() as connection:
        if not inspect(connection).has_table(rows.name):
            return []
        found = connection.execute(rows.select().where(rows.c.study == study).order_by(rows.c.number)).all()
    return [
        Request(
            row.number,
            cast("Kind", row.kind),
            json.loads(row.value),
            row.who,
            datetime.fromtimestamp(row.asked).astimezone(),
            row.answer,
        )
        for row in found
    ]


def held(storage: str, study: str) -> Request | None:
    """Returns the request that has a study left alone, if it was not resumed since."""
    decisive = [each for each in requests(storage, study) if each.kind in (*HOLDING, "resume")]
    return decisive[-1] if decisive and decisive[-1].kind in HOLDING else None


def events(storage: str, study: str) -> list[tuple[datetime, str, str, str]]:
    """Lists what was asked of a study: when, by whom, what, and what came of it."""
    return [
        (
            each.asked,
            each.who,
            " ".join([each.kind, *(f"{key}={value}" for key, value in each.value.items())]),
            each.answer or "open",
        )
        for each in patiently(requests)(storage, study)
    ]


def holding(storage: str) -> dict[str, str]:
    """Returns how studies are left alone until somebody resumes them, by study."""
    engine = _engine(storage)
    with engine.connect() as connection:
        if not inspect(connection).has_table(rows.name):
            return {}
        decisive = rows.c.kind.in_((*HOLDING, "resume"))
        found = connection.execute(rows.select().where(decisive).order_by(rows.c.number)).all()
    latest = {row.study: row.kind for row in found}
    return {study: kind for study, kind in latest.items() if kind in HOLDING}


def lift(storage: str, study: str) -> None:
    """Notes that a study that was held is started again."""
    if held(storage, study):
        ask(storage, study, "resume", {}, "started")


def tick(storage: str, request: Request, answer: str) -> None:
    """Notes what came of a request."""
    with _engine(storage).begin() as connection:
        connection.execute(rows.update().where(rows.c.number == request.number).values(answer=answer))


class Acting:
    """Takes up what is asked of a study that is driven here."""

    def __init__(
        self, storage: str, store: OptunaStore, study: Study, leave: Callable[[int | None], None]
    ) -> None:
        """Takes what has a trial leave its gang, or with None the whole study its cluster."""
        self._storage, self._store, self._study, self._leave = storage, store, study, leave

    def take_up(self) -> None:
        """Does what is open, in the order in which it was asked; nothing before the default was drawn."""
        name = self._store.job.name
        open_ones = [each for each in requests(self._storage, name) if each.answer is None]
        for request in open_ones if self._study.records else []:
            tick(self._storage, request, self._done(request))

    def _done(self, request: Request) -> str:
        match request.kind:
            case "stop trial":
                return self._stop_trial(request)
            case "add":
                trial = self._store.add(request.value, request.number)
                self._study.go_on_with(self._store.change_budget({"trials": "+1"}, request.number), trial)
                return f"is trial {trial.number}"
            case "budget":
                changed = self._store.change_budget(request.value, request.number)
                self._study.go_on_with(changed)
                return ", ".join(f"{key} {getattr(changed, key):g}" for key in request.value)
            case _:
                if (holding := held(self._storage, self._store.job.name)) and holding == request:
                    self._leave(None)
                return "left"

    def _stop_trial(self, request: Request) -> str:
        number = int(request.value["trial"])
        if not self._study.stop(number, f"stopped by {request.who}"):
            return "it had ended"
        self._leave(number)
        return "stopped"


def _engine(storage: str) -> Engine:
    return create_engine(storage, poolclass=NullPool)
