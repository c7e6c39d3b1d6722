"""Limits a folder of files to a number of bytes, whoever fills and reads it on a node."""

import fcntl
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.files.writing import replacing

LEDGER = "size"
"""The file with the sum of the others' bytes, and the time from when on some may be removed; whoever adds or
removes one holds its lock."""

UNUSED = 6 * 3600
"""Seconds that a file must have lain unread before it may be removed. No training that loading slows down has
epochs so long; it would push out its own files where they are more than the limit."""


@dataclass(frozen=True)
class LimitedFolder:
    root: Path
    limit: int
    """The limit in bytes."""

    def read(self, name: str) -> mmap.mmap | None:
        """Maps a file into memory: what is mapped stays readable when the file is removed."""
        with suppress(FileNotFoundError), (self.root / name).open("rb") as opened:
            if time.time() - os.fstat(opened.fileno()).st_mtime > UNUSED / 6:
                os.utime(opened.fileno())
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return None

    def is_full(self) -> bool:
        """Tells whether hardly a file more would fit, and none may be removed yet."""
        with self._ledger() as ledger:
            total, removable_from = _noted(ledger)
        return total > 0.99 * self.limit and time.time() < removable_from

    def keep(self, name: str, content: bytes) -> None:
        """Says where there is room, or can be made. Raises OSError."""
        with self._ledger() as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            total, removable_from = _noted(ledger)
            if total + len(content) > self.limit and time.time() >= removable_from:
                total, removable_from = self._make_room(len(content))
            if total + len(content) <= self.limit and not (self.root / name).exists():
                with replacing(self.root / name) as beside:
                    beside.write_bytes(content)
                total += len(content)
            os.pwrite(ledger, f"{total:020} {removable_from:020}".encode(), 0)

    def _make_room(self, wanted: int) -> tuple[int, int]:
        """Removes unused files, the oldest first, and a few to spare, as looking for them takes its time.

        The sum of the bytes that are left, and from when on more may be removed.
        """
        found = [(entry.stat(), entry.path) for entry in os.scandir(self.root) if entry.name != LEDGER]
        total = sum(facts.st_size for facts, _ in found)
        enough = self.limit - max(wanted, self.limit // 20)
        for facts, path in sorted(found, key=lambda each: each[0].st_mtime):
            removable_from = int(facts.st_mtime) + UNUSED
            if total <= enough or time.time() < removable_from:
                return total, removable_from
            Path(path).unlink(missing_ok=True)
            total -= facts.st_size
        return total, 0

    @contextmanager
    def _ledger(self) -> Iterator[int]:
        descriptor = os.open(self.root / LEDGER, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _noted(ledger: int) -> tuple[int, int]:
    numbers = [int(number) for number in os.pread(ledger, 64, 0).split()]
    total, removable_from, *_ = *numbers, 0, 0
    return total, removable_from
