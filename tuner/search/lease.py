"""One driver at a time: a lease in the study's own database, which its holder keeps alive."""

import getpass
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread, main_thread
from typing import Any, NoReturn

import psutil
from sqlalchemy import Column, Connection, Float, MetaData, Row, String, Table, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tuner.errors import TunerError

SECONDS = 60.0
"""A lease that was not renewed for so long may be taken over."""
BEAT = 10.0

leases = Table(
    "tuner_leases",
    MetaData(),
    Column("study", String(64), primary_key=True),
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
    """Raises TunerError where another driver holds the study's."""

    def __init__(self, storage: str, study: str) -> None:
        self._engine = create_engine(storage, poolclass=NullPool)
        self._study = study
        self._token = uuid.uuid4().hex
        self._lost: TunerError | None = None
        self._take()

    def renew(self) -> None:
        """Raises TunerError when another driver has taken over."""
        with self._engine.begin() as connection:
            ours = (leases.c.study == self._study) & (leases.c.token == self._token)
            changed = connection.execute(leases.update().where(ours).values(renewed=_now(connection)))
            if not changed.rowcount:
                self._lost = TunerError(
                    f"study {self._study}: {self._holder(connection)} has taken over: stopped"
                )
                raise self._lost

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
        with self._engine.begin() as connection:
            connection.execute(leases.delete().where(leases.c.token == self._token))
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

    def _take(self) -> None:
        with suppress(DBAPIError):  # another driver makes the table just now
            leases.create(self._engine, checkfirst=True)
        process = psutil.Process()
        mine = {
            "token": self._token,
            "holder": f"{getpass.getuser()}@{socket.gethostname()}, pid {process.pid}",
            "host": socket.gethostname(),
            "process": f"{process.pid} {process.create_time():.2f}",
        }
        for _ in range(3):
            with self._engine.begin() as connection:
                held = connection.execute(leases.select().where(leases.c.study == self._study)).one_or_none()
                age = _now(connection) - held.renewed if held else 0.0
            if held and age < SECONDS and not _is_over(held):
                raise TunerError(
                    f"study {self._study} is driven by {held.holder}, which gave a sign of life "
                    f"{age:.0f} s ago: end it first, or wait until it has been silent for {SECONDS:.0f} s"
                )
            if self._swap(held, mine):
                return
        raise TunerError(f"study {self._study}: several drivers start at once; try again")

    def _swap(self, held: Row[Any] | None, mine: dict[str, str]) -> bool:
        """Compare and set: False when somebody else was faster."""
        try:
            with self._engine.begin() as connection:
                values = {**mine, "renewed": _now(connection)}
                if held is None:
                    connection.execute(leases.insert().values(study=self._study, **values))
                    return True
                same = (leases.c.token == held.token) & (leases.c.renewed == held.renewed)
                changed = connection.execute(leases.update().where(same).values(**values))
                return bool(changed.rowcount == 1)
        except IntegrityError:
            return False

    def _holder(self, connection: Connection) -> str:
        held = connection.execute(leases.select().where(leases.c.study == self._study)).one_or_none()
        return str(held.holder) if held else "another driver"


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _now(connection: Connection) -> float:
    return float(connection.execute(text(f"SELECT {NOW[connection.dialect.name]}")).scalar_one())


def _is_over(held: Row[Any]) -> bool:
    """A process of this host that has ended, or this one, which takes its own study up again."""
    if held.host != socket.gethostname():
        return False
    pid, begun = held.process.split()
    if int(pid) == os.getpid():
        return True
    try:
        return bool(f"{psutil.Process(int(pid)).create_time():.2f}" != begun)
    except psutil.NoSuchProcess:
        return True
