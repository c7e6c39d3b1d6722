"""Shows a training's progress to a second thread of its process, which may have it leave in good order.

Ranks that train together must leave together. Whoever asks them holds each before its next step, hears how many steps
each has begun, and has all leave after the most that any has begun: no rank then waits for one that has left.
"""

import sys
import threading
import time
import traceback
from collections import deque
from statistics import median

from tuner.errors import Left

REMEMBERED = 101
"""The steps whose median says how long one takes."""
TIMES_MEDIAN = 10
FRAMES = 6
"""The innermost calls of a stack that are shown."""


class Progress:
    """Counts the steps of one rank's training: its iterations and evaluations."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun, self._is_held = 0, False
        self._last: int | None = None
        self._thread = threading.get_ident()
        self._latest, self._seconds = time.monotonic(), deque[float](maxlen=REMEMBERED)
        self.may_break_off = False
        """Tells that this step may be left in its middle: nothing that it does is kept."""

    def begin(self) -> None:
        """Begins a step. Waits while the ranks are held; raises Left where they leave before it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_held)
            if self._last is not None and self._begun >= self._last:
                raise Left("left in good order")
            self._begun += 1
            self._thread = threading.get_ident()
            self.beat()

    def beat(self) -> None:
        """Shows that a step goes on. Raises Left where it may be broken off and the ranks leave."""
        now = time.monotonic()
        self._seconds.append(now - self._latest)
        self._latest = now
        if self.may_break_off and self._last is not None:
            raise Left("left in good order")

    def hold(self) -> int:
        """Lets no further step begin; returns how many have. For another thread, as all below."""
        with self._changed:
            self._is_held = True
            return self._begun

    def leave_after(self, steps: int | None) -> None:
        """Has the training leave when it has begun that many steps; None lets it go on."""
        with self._changed:
            self._is_held, self._last = False, steps
            self._changed.notify_all()

    def hung(self, least: float) -> bool:
        """Tells whether nothing has moved for ten times a usual step, and for at least that many seconds."""
        usual = median(self._seconds) if self._seconds else 0.0
        return time.monotonic() - self._latest > max(least, TIMES_MEDIAN * usual)

    def stack(self) -> str:
        """Returns where the training is just now, the innermost call last."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented in spite of its name
        calls = traceback.extract_stack(frame)[-FRAMES:] if frame else []
        return " > ".join(f"{call.name} ({call.filename.rpartition('/')[2]}:{call.lineno})" for call in calls)
