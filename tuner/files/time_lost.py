"""Keeps how far a trial was trained beside its checkpoint, so that what an interruption threw away is known."""

import json
import time
from contextlib import suppress

from tuner.errors import Unreadable
from tuner.files.paths import AnyPath
from tuner.files.reading import text_of
from tuner.files.writing import write_json

LEAST = 1.0
"""Seconds between two notes."""
TIMES_NOTE = 100
"""The next note waits so many times as long as the last one took: a slow disk or object store costs one percent."""


class TimeLost:
    """Counts the seconds of training that no checkpoint holds, over all interruptions of a trial."""

    def __init__(self, file: AnyPath, saved: float) -> None:
        """Takes the seconds of training in the checkpoint that is taken up, 0 without one."""
        self._file = file
        earlier, reached = 0.0, saved
        with suppress(Unreadable, ValueError, KeyError):  # a number for people ends no training
            known = json.loads(text_of(file) or "{}")
            earlier, reached = float(known["lost"]), float(known["reached"])
        self.seconds = earlier + max(0.0, reached - saved)
        """What interruptions have thrown away so far."""
        self._next = 0.0

    def reached(self, seconds: float) -> None:
        """Notes now and then that the training has come so far; to be called often."""
        begun = time.monotonic()
        if begun < self._next:
            return
        with suppress(OSError):
            write_json(self._file, {"lost": self.seconds, "reached": seconds})
        took = time.monotonic() - begun
        self._next = time.monotonic() + max(LEAST, TIMES_NOTE * took)
