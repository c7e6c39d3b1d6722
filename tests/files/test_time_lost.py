"""What interruptions have thrown away of a training is counted over all of them, at next to no cost."""

from pathlib import Path

import pytest

from tuner.files import time_lost
from tuner.files.time_lost import TimeLost


@pytest.fixture(autouse=True)
def _note_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_lost, "LEAST", 0.0)
    monkeypatch.setattr(time_lost, "TIMES_NOTE", 0)


def test_what_no_checkpoint_held_adds_up_over_interruptions(tmp_path: Path) -> None:
    """One checkpoint at 20 s; killed at 25 s, then, with one at 30 s, at 31 s, and before the first note."""
    file = tmp_path / "trial" / "time_lost.json"
    first = TimeLost(file, saved=0.0)
    assert first.seconds == 0
    for seconds in (10.0, 25.0):
        first.reached(seconds)
    second = TimeLost(file, saved=20.0)
    assert second.seconds == 5
    for seconds in (29.0, 31.0):
        second.reached(seconds)
    for _ in range(2):
        assert TimeLost(file, saved=30.0).seconds == 6
    second.reached(39.0)
    assert TimeLost(file, saved=40.0).seconds == 5, "the checkpoint is newer than the note"


def test_a_note_that_cannot_be_read_or_written_ends_no_training(tmp_path: Path) -> None:
    (file := tmp_path / "time_lost.json").touch()  # as a power cut may leave it
    assert TimeLost(file, saved=20.0).seconds == 0
    (tmp_path / "no folder").touch()
    TimeLost(tmp_path / "no folder" / "time_lost.json", saved=20.0).reached(30.0)


def test_notes_take_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, written = [0.0], []

    def slow(_: Path, content: object) -> None:
        written.append(content)
        now[0] += 0.1

    monkeypatch.setattr(time_lost.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time_lost, "write_json", slow)
    monkeypatch.setattr(time_lost, "TIMES_NOTE", 100)
    notes = TimeLost(tmp_path / "time_lost.json", saved=0.0)
    while now[0] < 100:
        now[0] += 0.01
        notes.reached(now[0])
    assert 9 <= len(written) <= 10
