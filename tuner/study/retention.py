"""Removes the checkpoints that nobody needs any more: those of running trials and of possible winners stay."""

import logging

from tuner.files.paths import Home
from tuner.spec.trial import Record
from tuner.study.history import History
from tuner.study.pareto import pareto_front
from tuner.study.replication import finalists

logger = logging.getLogger(__name__)


def dispensable(history: History) -> set[int]:
    """Returns the numbers of the ended trials that can neither win nor lie on the Pareto front."""
    ended = {record.trial.number for record in history.records if record.outcome}
    return ended - {0, *finalists(history), *(record.trial.number for record in pareto_front(history))}


class Retention:
    """Removes checkpoints as trials end, as a callback of the study; the trials' configs stay."""

    def __init__(self, history: History, home: Home) -> None:
        self._job, self._home = history.job, home
        self._records = {record.trial.number: record for record in history.records}
        self._removed: set[int] = set()

    def changed(self, record: Record) -> None:
        self._records[record.trial.number] = record
        if record.outcome is None:
            return
        for number in dispensable(History(self._job, [*self._records.values()])) - self._removed:
            self._remove(number)

    def _remove(self, number: int) -> None:
        """Removes a checkpoint; one that cannot be removed now is tried again when the next trial ends."""
        folder = self._home.trial(self._job.name, number)
        try:
            for checkpoint in folder.checkpoints():
                checkpoint.unlink(missing_ok=True)
            self._removed.add(number)
        except OSError as error:
            reason = str(error).partition("\n")[0]
            logger.warning("the checkpoint in %s cannot be removed: %s", folder.root, reason)
