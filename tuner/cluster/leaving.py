"""Has the gangs of a driver leave in good order: their checkpoints saved, all ranks at the same step."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from threading import Event, Thread, main_thread
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from sqlalchemy.exc import SQLAlchemyError

from tuner.cluster.messages import RANK
from tuner.files.paths import Home
from tuner.study.study import Study

GRACE = 20.0
"""Seconds that gangs have for it until Tune ends them; queues commonly kill after 30."""
AGAIN = 0.5
"""Seconds after which gangs that have not left are asked again: they may have just come together."""
ANSWER = 5.0
LOOK = 2.0
"""Seconds after which requests are looked for again."""


def leave(home: Home, study: str, trial: int | None) -> None:
    """Has a trial's gang leave; without a trial the whole study, as SIGTERM does."""
    if trial is None:
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        ask_to_leave(str(home.trial(study, trial).root))


def ask_to_leave(folder: str | None = None) -> None:
    """Asks all gangs of this driver, or the one that trains in a folder; those that have no training are let go on."""
    for ranks in _gangs():
        try:
            begun = ray.get([rank.hold.remote(folder) for rank in ranks], timeout=ANSWER)
            last = None if None in begun else max(begun)
            ray.get([rank.leave_after.remote(last) for rank in ranks], timeout=ANSWER)
        except RayError:
            continue  # it is gone, or has not come together


def _gangs() -> Iterator[list[Any]]:
    names = sorted(name for name in ray.util.list_named_actors() if RANK in name)
    for _, own in groupby(names, key=lambda name: name.partition(RANK)[0]):
        try:
            yield [ray.get_actor(name) for name in own]
        except ValueError:
            continue  # it has ended just now


@contextmanager
def leaving_at_sigterm(study: Study) -> Iterator[None]:
    """Has a study draw no more at SIGTERM and its gangs leave; Tune ends by itself when the last has left."""
    over = Event()

    def begin(*_: object) -> None:
        if not study.is_leaving:
            study.is_leaving = True
            Thread(target=_see_out, args=(over,), daemon=True).start()

    before = signal.signal(signal.SIGTERM, begin)
    try:
        yield
    finally:
        over.set()
        signal.signal(signal.SIGTERM, before)


class TakesUpRequests(tune.Callback):  # type: ignore[misc]
    """Takes up what is asked of a study, between the steps of Tune's loop."""

    def __init__(self, take_up: Callable[[], None]) -> None:
        self._take_up, self._next = take_up, 0.0

    def on_step_begin(self, **_: Any) -> None:
        if time.monotonic() >= self._next:
            with suppress(SQLAlchemyError):  # the database is away: the next look may reach it
                self._take_up()
            self._next = time.monotonic() + LOOK

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _see_out(over: Event) -> None:
    """Asks the gangs until all have left; after the grace it interrupts Tune, which then ends them itself."""
    end = time.monotonic() + GRACE
    while time.monotonic() < end:
        ask_to_leave()
        if over.wait(AGAIN):
            return
    signal.pthread_kill(main_thread().ident or 0, signal.SIGUSR1)
