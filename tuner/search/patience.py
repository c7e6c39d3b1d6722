"""A database that is restarted does not end a search: its statements wait for it."""

import logging
import time
from collections.abc import Callable
from typing import Any, cast

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy.exc import InterfaceError, OperationalError

PATIENCE = 300.0
"""Seconds that a database may be away."""

logger = logging.getLogger(__name__)


def patient_storage(url: str) -> BaseStorage:
    """Optuna's storage; a database that is away already now raises at once."""
    storage = get_storage(RDBStorage(url, engine_kwargs={"pool_pre_ping": True}))
    return cast("BaseStorage", _Patient(storage))


class _Patient:
    """Every method of a storage is one transaction."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

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
