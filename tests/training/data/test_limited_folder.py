"""A folder within a limit: what is removed from it, and when."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

from tuner.training.data.limited_folder import LEDGER, LimitedFolder


@pytest.fixture
def folder(tmp_path: Path) -> LimitedFolder:
    return LimitedFolder(tmp_path, limit=1000)


def names(folder: LimitedFolder) -> set[str]:
    return {file.name for file in folder.root.iterdir()} - {LEDGER}


def leave_unused(folder: LimitedFolder, name: str, hours: float = 7) -> None:
    then = time.time() - hours * 3600
    os.utime(folder.root / name, (then, then))


def filled(folder: LimitedFolder) -> None:
    for number in range(10):
        folder.keep(f"old-{number}", b"o" * 100)
        leave_unused(folder, f"old-{number}", hours=100 - number)


def test_what_was_unused_longest_makes_room(folder: LimitedFolder) -> None:
    filled(folder)
    folder.keep("new", b"n" * 250)
    assert names(folder) == {"new", *(f"old-{number}" for number in range(3, 10))}


def test_what_is_read_stays(folder: LimitedFolder) -> None:
    filled(folder)
    for number in range(9):
        assert folder.read(f"old-{number}")
    for number in range(3):
        folder.keep(f"new-{number}", b"n" * 100)
    assert names(folder) == {"new-0", *(f"old-{number}" for number in range(9))}
    assert folder.is_full()


def test_who_has_more_than_fits_pushes_nothing_of_its_own_out(folder: LimitedFolder) -> None:
    filled(folder)
    mine = [f"mine-{number}" for number in range(20)]
    kept = []
    for _ in range(3):
        for name in mine:
            if not folder.read(name):
                folder.keep(name, b"m" * 100)
        kept.append(names(folder))
    assert kept == [set(mine[:10])] * 3


def test_a_full_folder_is_looked_through_again_when_its_files_may_go(folder: LimitedFolder) -> None:
    for number in range(10):
        folder.keep(f"old-{number}", b"o" * 100)
    folder.keep("too much", b"n" * 100)
    assert folder.is_full()
    assert not LimitedFolder(folder.root, limit=2000).is_full()
    for number in range(10):
        leave_unused(folder, f"old-{number}")
    folder.keep("too much", b"n" * 100)
    assert "too much" not in names(folder), "a look at every file is for when one may have become removable"
    past = int(time.time()) - 1
    (folder.root / LEDGER).write_text(f"{1000:020} {past:020}")
    assert not folder.is_full()
    folder.keep("enough", b"n" * 100)
    assert "enough" in names(folder)


def test_what_is_mapped_stays_readable_when_it_is_removed(folder: LimitedFolder) -> None:
    folder.keep("old", b"o" * 1000)
    mapped = folder.read("old")
    leave_unused(folder, "old")
    folder.keep("new", b"n" * 1000)
    assert names(folder) == {"new"}
    assert mapped is not None
    assert mapped[:] == b"o" * 1000


def test_what_a_killed_process_left_half_written_goes_too(folder: LimitedFolder) -> None:
    (folder.root / ".half.4711").write_bytes(b"h" * 500)
    leave_unused(folder, ".half.4711", hours=200)
    filled(folder)
    folder.keep("new", b"n" * 100)
    assert "new" in names(folder)
    assert ".half.4711" not in names(folder)


def take_turns(folder: LimitedFolder, numbers: range) -> int:
    """How many files that were read held something else than was kept under their names."""
    wrong = 0
    for number in numbers:
        content = f"{number:04}".encode() * 25
        found = folder.read(f"{number}")
        if found is None:
            folder.keep(f"{number}", content)
            with suppress(FileNotFoundError):
                leave_unused(folder, f"{number}")
        elif found[:] != content:
            wrong += 1
    return wrong


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 on fork
def test_processes_that_fill_read_and_remove_together_stay_within_the_limit(folder: LimitedFolder) -> None:
    orders = [range(300), range(299, -1, -1), range(0, 300, 2)]
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        assert list(pool.map(take_turns, [folder] * 3, orders)) == [0, 0, 0]
    total = sum((folder.root / name).stat().st_size for name in names(folder))
    assert 0 < total <= 1000
    assert int((folder.root / LEDGER).read_text().split()[0]) == total
