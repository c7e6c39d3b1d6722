"""Tells when no trial can work: the first ones crash with the same message and none reaches a rung."""

import re
from collections.abc import Sequence

from tuner.spec.trial import Record

ALIKE = 3
"""The number of trials whose crashes make a search hopeless; all of them in a shorter search."""


class FirstCrashes:
    """Holds crashes back as long as no trial was measured, so that a hopeless study forgets none of its trials.

    A trial that is held back has no outcome: it is drawn again when the study is taken up, once the cause is
    mended.
    """

    def __init__(self, records: Sequence[Record], trials: int) -> None:
        self._enough = min(ALIKE, trials)
        self._is_open = not any(record.measurements for record in records)
        self._notes: dict[int, str] = {}
        self.hopeless: str | None = None
        """The message of the crashes that ended the search."""

    def hold(self, number: int, note: str) -> bool:
        """Tells whether a trial's crash is held back."""
        if not self._is_open:
            return False
        self._notes[number] = note
        if len(self._notes) < self._enough:
            return True
        if len({re.sub(r"\d+", "", each) for each in self._notes.values()}) == 1:
            self.hopeless = note
            return True
        del self._notes[number]
        return False

    def release(self) -> dict[int, str]:
        """Returns the crashes held back, by the trial's number; from now on none is held."""
        if self.hopeless:
            return {}
        held, self._notes, self._is_open = self._notes, {}, False
        return held

    def __contains__(self, number: int) -> bool:
        return number in self._notes


class Retries:
    """Holds the notes of each trial's crashes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._notes: dict[int, list[str]] = {}

    def left(self, number: int, note: str, died: bool) -> str | None:
        """Counts a crash; returns which retry follows, None where there is none.

        An error that a rank raised (`died` is false) twice in a row will not go away: there is no third time.
        """
        notes = self._notes.setdefault(number, [])
        is_stuck = not died and notes[-1:] == [note]
        notes.append(note)
        return None if is_stuck or len(notes) > self._most else f"retry {len(notes)} of {self._most}"
