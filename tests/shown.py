"""Shows records in MLflow as a running study does, step by step: a store that the test writes."""

from collections.abc import Iterable
from functools import partial
from threading import Event

from tuner.files.paths import Home
from tuner.spec.job import JobSpec
from tuner.spec.trial import Record
from tuner.study.history import History
from tuner.tracking.mlflow import MlflowTracker, Server
from tuner.tracking.report.sources import Sources


class Shown:
    """Waits after every change until it was written, or was found not to arrive."""

    def __init__(self, server: Server, job: JobSpec, home: Home, study_id: str = "first") -> None:
        self.job, self._home, self._records = job, home, dict[int, Record]()
        self._written = Event()
        self._tracker = _Signalling(server, study_id, self.sources)
        self._tracker.written = self._written

    def sources(self) -> Sources:
        records = [self._records[number] for number in sorted(self._records)]
        return Sources(History(self.job, records), partial(self._home.trial, self.job.name))

    def begin(self, records: Iterable[Record]) -> None:
        self._keep(records)
        self._tracker.begin()
        self._wait()

    def changed(self, record: Record) -> None:
        self._keep([record])
        self._written.clear()
        self._tracker.changed(record)
        self._wait()

    def end(self, records: Iterable[Record]) -> None:
        self._keep(records)
        self._tracker.end()

    def _keep(self, records: Iterable[Record]) -> None:
        self._records |= {record.trial.number: record for record in records}

    def _wait(self) -> None:
        assert self._written.wait(60), "it was not shown"


class _Signalling(MlflowTracker):
    written: Event

    def _show(self) -> None:
        super()._show()
        self.written.set()
