"""Lets one driver at a time work on a study, by a lease in the study's database that its holder renews.

Each holder is an attempt at the study, and attempts are numbered. What an older attempt writes is refused by the
database together with the look at the lease; its checkpoints carry its number.
"""

import getpass
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event, Thread, main_thread
from typing import Any, NoReturn

import psutil
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    create_engine,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tuner.errors import TunerError

SECONDS = 60.0
"""A lease that was not renewed for so long may be taken over."""
BEAT = 10.0

leases = Table(
    "tuner_attempts",
    MetaData(),
    Column("study", String(64), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("token", String(32), nullable=False),
    Column("holder", String(200), nullable=False),
    Column("host", String(100), nullable=False),
    Column("process", String(60), nullable=False),
    Column("renewed", Float(53), nullable=False),
)
NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())",
}
"""Seconds by the database's clock, the one clock that all drivers share."""


class Lease:
    """Holds a study for one driver.

    Raises TunerError where another driver holds it, or the database's file, frozen in the middle of a write.
    """

    def __init__(self, storage: str, study: str) -> None:
        self._engine = create_engine(storage, poolclass=NullPool)
        self._study = study
        self._token = uuid.uuid4().hex
        self._lost: TunerError | None = None
        try:
            self.attempt = self._take()
            """The number of this attempt at the study, from 1."""
        except OperationalError as error:
            raise TunerError(f"the studies' database does not answer: {error.orig}") from error

    def renew(self) -> None:
        """Shows that the driver lives. Raises TunerError when another driver has taken over."""
        with self._engine.begin() as connection:
            ours = (leases.c.study == self._study) & (leases.c.token == self._token)
            changed = connection.execute(leases.update().where(ours).values(renewed=now(connection)))
            if not changed.rowcount:
                raise self._taken_over(connection)

    def check(self, connection: Connection) -> None:
        """Looks at the lease within a transaction, which keeps it so until its end. Raises TunerError as `renew`."""
        ours = select(leases.c.attempt).where(
            (leases.c.study == self._study) & (leases.c.token == self._token)
        )
        if connection.execute(ours.with_for_update(read=True)).first() is None:
            raise self._taken_over(connection)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renews it in the background and gives it back; interrupts the main thread when it is lost.

        By SIGUSR1, at which Ray Tune ends its run in good order; a shell's background ignores SIGINT.
        """
        over = Event()
        before = signal.signal(signal.SIGUSR1, _interrupt)
        heart = Thread(target=self._beat, args=(over,), daemon=True)
        heart.start()
        try:
            yield
        except KeyboardInterrupt:
            if self._lost is None:
                raise
        finally:
            over.set()
            heart.join()
            signal.signal(signal.SIGUSR1, before)
        if self._lost:
            raise self._lost
        self.give_back()

    def give_back(self) -> None:
        """Frees the study; the row stays, as it has the attempt's number."""
        with self._engine.begin() as connection:
            connection.execute(leases.update().where(leases.c.token == self._token).values(renewed=0.0))
        self._engine.dispose()

    def _beat(self, over: Event) -> None:
        while not over.wait(BEAT):
            try:
                self.renew()
            except TunerError:
                signal.pthread_kill(main_thread().ident or 0, signal.SIGUSR1)
                return
            except SQLAlchemyError:
                continue  # the next beat may reach the database again

    def _take(self) -> int:
        """Returns the number of this attempt."""
        with suppress(DBAPIError):  # another driver makes the table just now
            leases.create(self._engine, checkfirst=True)
        process = psutil.Process()
        mine: dict[str, Any] = {
            "token": self._token,
            "holder": f"{getpass.getuser()}@{socket.gethostname()}, pid {process.pid}",
            "host": socket.gethostname(),
            "process": f"{process.pid} {process.create_time():.2f}",
        }
        for _ in range(3):
            with self._engine.begin() as connection:
                held = connection.execute(leases.select().where(leases.c.study == self._study)).one_or_none()
                age = now(connection) - held.renewed if held else 0.0
            if held and age < SECONDS and not _is_over(held):
                raise TunerError(
                    f"study {self._study} is driven by {held.holder}, which gave a sign of life "
                    f"{age:.0f} s ago: end it first, or wait until it has been silent for {SECONDS:.0f} s"
                )
            mine["attempt"] = held.attempt + 1 if held else 1
            if self._swap(held, mine):
                return int(mine["attempt"])
        raise TunerError(f"study {self._study}: several drivers start at once; try again")

    def _swap(self, held: Row[Any] | None, mine: dict[str, Any]) -> bool:
        """Sets the lease if it is unchanged; returns False when another driver was faster."""
        try:
            with self._engine.begin() as connection:
                values = {**mine, "renewed": now(connection)}
                if held is None:
                    connection.execute(leases.insert().values(study=self._study, **values))
                    return True
                same = (leases.c.token == held.token) & (leases.c.renewed == held.renewed)
                changed = connection.execute(leases.update().where(same).values(**values))
                return bool(changed.rowcount == 1)
        except IntegrityError:
            return False

    def _taken_over(self, connection: Connection) -> TunerError:
        held = connection.execute(leases.select().where(leases.c.study == self._study)).one_or_none()
        by = held.holder if held else "another driver"
        self._lost = TunerError(f"study {self._study}: {by} has taken over: stopped")
        return self._lost


def drivers(storage: str) -> dict[str, tuple[str, datetime]]:
    """Returns who drives studies now, and when that process began, by study."""
    engine = create_engine(storage, poolclass=NullPool)
    with engine.connect() as connection:
        if not inspect(connection).has_table(leases.name):
            return {}
        fresh = leases.c.renewed > now(connection) - SECONDS
        kept = connection.execute(leases.select().where(fresh)).all()
    begun = {each.study: float(each.process.split()[1]) for each in kept}
    return {
        each.study: (each.holder, datetime.fromtimestamp(begun[each.study]).astimezone())
        for each in kept
        if not _is_over(each)
    }


def driver(storage: str, study: str) -> str | None:
    """Returns who drives a study now."""
    holder, _ = drivers(storage).get(study, (None, None))
    return holder


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def now(connection: Connection) -> float:
    """Returns seconds since 1970 by the database's clock."""
    return float(connection.execute(text(f"SELECT {NOW[connection.dialect.name]}")).scalar_one())


def _is_over(held: Row[Any]) -> bool:
    """Tells whether the holder is a process of this host that has ended, or this one: it may take its study up."""
    if held.host != socket.gethostname():
        return False
    pid, begun = held.process.split()
    if int(pid) == os.getpid():
        return True
    try:
        return bool(f"{psutil.Process(int(pid)).create_time():.2f}" != begun)
    except psutil.NoSuchProcess:
        return True
