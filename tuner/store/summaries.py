"""Keeps a summary with each study, so that all studies are told in a few queries, however many trials they have."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, MetaData, String, Table, Text, create_engine, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tuner.spec.trial import Record
from tuner.store.lease import drivers
from tuner.store.requests import holding
from tuner.store.studies import studies

rows = Table(
    "tuner_summaries",
    MetaData(),
    Column("study", String(64), primary_key=True),
    Column("facts", Text, nullable=False),
)


@dataclass(frozen=True)
class Standing:
    """Says how a study stands."""

    study: str
    facts: Mapping[str, Any] | None
    """What its latest driver has summed up; None where somebody has acted on the study since."""
    driver: str | None
    """Who drives it now."""
    since: datetime | None
    """When the driver's process began."""
    held: str | None
    """How somebody has it left alone: pause or stop."""


class Summarizes:
    """Keeps the summary of a study that is driven here, as its callback."""

    def __init__(self, storage: str, study: str, facts: Callable[[], Mapping[str, Any]]) -> None:
        self._storage, self._study, self._facts = storage, study, facts
        self._is_waiting = False
        with suppress(DBAPIError):  # another driver makes the table just now
            rows.create(create_engine(storage, poolclass=NullPool), checkfirst=True)

    def changed(self, record: Record) -> None:
        if record.outcome:
            self.keep()

    def waits(self, is_waiting: bool) -> None:
        """Keeps whether the study waits for nodes."""
        self._is_waiting = is_waiting
        self.keep()

    def keep(self) -> None:
        """Writes the summary; where the database is away, the next trial's end does."""
        with (
            suppress(SQLAlchemyError),
            create_engine(self._storage, poolclass=NullPool).begin() as connection,
        ):
            connection.execute(rows.delete().where(rows.c.study == self._study))
            facts = {**self._facts(), "is_waiting": self._is_waiting}
            connection.execute(rows.insert().values(study=self._study, facts=json.dumps(facts)))


def forget(storage: str, study: str) -> None:
    """Drops a study's summary, which does not tell any more how it stands."""
    with create_engine(storage, poolclass=NullPool).begin() as connection:
        if inspect(connection).has_table(rows.name):
            connection.execute(rows.delete().where(rows.c.study == study))


def standings(storage: str) -> list[Standing]:
    """Says how all studies stand, by name; asking creates no database."""
    if not (names := studies(storage)):
        return []
    with create_engine(storage, poolclass=NullPool).connect() as connection:
        known = connection.execute(rows.select()).all() if inspect(connection).has_table(rows.name) else []
    facts = {row.study: json.loads(row.facts) for row in known}
    driven, held = drivers(storage), holding(storage)
    found = []
    for name in names:
        driver, since = driven.get(name, (None, None))
        found.append(Standing(name, facts.get(name), driver, since, held.get(name)))
    return found
