"""Which checkpoints stay: those of running trials, for going on, and those that may win, for export."""

import logging
from collections.abc import Iterable

from tuner.front import front
from tuner.job import JobSpec
from tuner.paths import Home
from tuner.race import finalists
from tuner.trial import Record

logger = logging.getLogger(__name__)


def dispensable(job: JobSpec, records: Iterable[Record]) -> set[int]:
    """The numbers of the trials whose checkpoints nobody needs any more."""
    known = list(records)
    ended = {record.trial.number for record in known if record.outcome}
    return ended - {0, *finalists(job, known), *(record.trial.number for record in front(job, known))}


class Retention:
    """A study.Watcher that removes checkpoints as trials end; their configs stay."""

    def __init__(self, job: JobSpec, home: Home, records: Iterable[Record]) -> None:
        self._job, self._home = job, home
        self._records = {record.trial.number: record for record in records}
        self._removed: set[int] = set()

    def changed(self, record: Record) -> None:
        self._records[record.trial.number] = record
        if record.outcome is None:
            return
        for number in dispensable(self._job, self._records.values()) - self._removed:
            self._remove(number)

    def _remove(self, number: int) -> None:
        """What cannot be removed now is tried again when the next trial ends."""
        checkpoint = self._home.trial(self._job.name, number).checkpoint
        try:
            checkpoint.unlink(missing_ok=True)
            self._removed.add(number)
        except OSError as error:
            logger.warning("%s cannot be removed: %s", checkpoint, str(error).partition("\n")[0])
