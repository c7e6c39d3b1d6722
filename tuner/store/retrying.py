"""Waits for a database that is restarted, so that the search does not end."""

import logging
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InterfaceError, OperationalError

from tuner.errors import TunerError

PATIENCE = 300.0
"""Seconds that a database may be away."""

logger = logging.getLogger(__name__)


def connect(storage: str) -> BaseStorage:
    """Makes the database where there is none. Raises TunerError when it does not answer."""
    if file := sqlite_file(storage):
        file.parent.mkdir(parents=True, exist_ok=True)
    for attempts_left in (2, 1, 0):
        try:
            return _patient_storage(storage)
        except Exception as error:
            if not attempts_left:
                reason = str(error).splitlines()[0]
                raise TunerError(
                    f"the studies' database does not answer: {reason}; --storage names it"
                ) from error
            time.sleep(0.5)  # another process may be making the tables just now
    raise AssertionError


def sqlite_file(storage: str) -> Path | None:
    """Returns the file of an SQLite URL, None for a server's."""
    prefix = "sqlite:///"
    return Path(storage.removeprefix(prefix)) if storage.startswith(prefix) else None


def _patient_storage(url: str) -> BaseStorage:
    """Returns Optuna's storage; a database that is away at the first connection raises at once."""
    database = RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    return cast("BaseStorage", _Patient(get_storage(database), database.engine))


def fence(storage: BaseStorage, check: Callable[[Connection], None]) -> None:
    """Has `check` look into every transaction before it is committed: what it raises undoes the transaction."""
    event.listen(cast("_Patient", storage).engine, "commit", check)


class _Patient:
    """Retries every method of a storage; each is one transaction.

    Its connections end with it, not when Python collects garbage: a server allows only a limited number.
    """

    def __init__(self, storage: BaseStorage, engine: Engine) -> None:
        self._storage = storage
        self.engine = engine
        weakref.finalize(self, engine.dispose)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        return patiently(found) if callable(found) else found


def patiently(call: Callable[..., Any]) -> Callable[..., Any]:
    """Calls again while the database is away: for what is one transaction."""

    def patient(*arguments: Any, **named: Any) -> Any:
        end, is_again = time.monotonic() + PATIENCE, False
        while True:
            try:
                return call(*arguments, **named)
            except (StorageInternalError, OperationalError, InterfaceError) as error:
                if not _is_away(error) or time.monotonic() > end:
                    raise
                if not is_again:
                    logger.warning("the studies' database does not answer; the search waits for it")
                is_again = True
                time.sleep(0.5)
            except UpdateFinishedTrialError:
                if not is_again:  # else it was written, and only the answer was lost
                    raise
                return None

    return patient


def _is_away(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, OperationalError | InterfaceError)
