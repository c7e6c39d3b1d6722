"""Keeps MLflow current while a study runs, off the search's path, and draws it again from a study's records."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from tuner.errors import TunerError, Unreadable
from tuner.spec.job import JobSpec
from tuner.spec.trial import Record
from tuner.tracking.dashboard import is_server
from tuner.tracking.mlflow_runs import StudyRuns
from tuner.tracking.report.sources import Sources

AWAY = (MlflowException, OSError, SQLAlchemyError)
"""MLflow's client raises these when its server or database does not answer."""
CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
LOG_IN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, hold the log-in"
REFUSED = {
    400: "it refuses what the tuner writes: is it MLflow 3.13 or later?",
    401: f"it wants a log-in: {LOG_IN}",
    403: f"it forbids that: {LOG_IN}; a host name must be among the server's --allowed-hosts",
}
"""What to do about answers of a server that is there."""
PERIOD = 60.0
"""Seconds between two drawings of the report, and until a server that was away is asked again."""
SHARE = 0.05
"""Drawing the report takes at most this share of the time."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    uri: str
    """The address of a server, or of MLflow's database."""
    artifacts: Path
    """The folder of the artifacts, where there is no server."""

    def client(self) -> MlflowClient:
        for name, value in CLIENT.items():
            os.environ.setdefault(name, value)
        return MlflowClient(self.uri)

    def open(self, study_id: str, sources: Sources) -> StudyRuns:
        """Raises AWAY."""
        client = self.client()
        return StudyRuns(client, self.experiment(client, sources.job.name), study_id, sources)

    def delete(self, name: str) -> None:
        """Deletes the experiment of that name, where there is one. Raises TunerError when MLflow does not answer."""
        try:
            client = self.client()
            if found := client.get_experiment_by_name(name):
                client.delete_experiment(found.experiment_id)
        except AWAY as error:
            raise TunerError(explained(error, self.uri)) from error

    def experiment(self, client: MlflowClient, name: str) -> str:
        """Returns the experiment of that name, made or brought back where it is not there. Raises AWAY."""
        found = client.get_experiment_by_name(name)
        if found is None:
            artifacts = None if is_server(self.uri) else self.artifacts.resolve().as_uri()
            return str(client.create_experiment(name, artifacts))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


class MlflowTracker:
    """Shows a study, as its callback. No absence of MLflow stops or slows it: what was missed is made good later."""

    def __init__(self, server: Server, study_id: str, read: Callable[[], Sources]) -> None:
        self._server, self._study_id, self._read = server, study_id, read
        self._runs: StudyRuns | None = None
        self._job: JobSpec | None = None
        self._news, self._over = Event(), Event()
        self._told: int | str | None = None
        self._study = "STUDY"
        self._ended, self._next_report = -1, 0.0
        self._thread = Thread(target=self._follow, name="MLflow", daemon=True)

    def begin(self) -> None:
        """Starts to show the study."""
        self._news.set()
        self._thread.start()

    def changed(self, _record: Record) -> None:
        self._news.set()

    def end(self) -> None:
        """Returns once everything is shown, or MLflow does not answer."""
        self._over.set()
        self._news.set()
        self._thread.join()
        with self._undisturbed():
            sources = self._sources()
            self._write(sources).close(sources)
        if self._told is not None:
            name = self._study
            logger.warning(
                "MLflow does not show all of study %s: `tuner sync-mlflow %s` draws it", name, name
            )

    def _follow(self) -> None:
        while not self._over.is_set():
            self._news.wait(PERIOD)
            self._news.clear()
            if not self._over.is_set():
                self._show()

    def _show(self) -> None:
        with self._undisturbed():
            self._write(self._sources())

    def _sources(self) -> Sources:
        """Reads the study. Raises Unreadable."""
        try:
            sources = self._read()
        except (SQLAlchemyError, StorageInternalError) as error:
            raise Unreadable(f"the studies' database cannot be read: {_first_line(error)}") from error
        self._study = sources.job.name
        return sources

    def _write(self, sources: Sources) -> StudyRuns:
        if self._runs is None or self._job != sources.job:  # its budget was changed
            self._runs, self._job = self._server.open(self._study_id, sources), sources.job
        self._runs.write(sources)
        ended = sum(record.outcome is not None for record in sources.records)
        is_due = time.monotonic() >= self._next_report and ended != self._ended
        if is_due or self._over.is_set():
            begun = time.monotonic()
            self._runs.report(sources)
            self._ended = ended
            self._next_report = begun + max(PERIOD, (time.monotonic() - begun) / SHARE)
        return self._runs

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # no drawing of a page may end a search
            status = _status(error)
            if self._told != status:
                logger.warning(
                    "%s; the search goes on and is shown later", explained(error, self._server.uri)
                )
            self._told, self._runs = status, None
        else:
            self._told = None


def sync(server: Server, study_id: str, sources: Sources) -> None:
    """Draws a study that nobody drives. Raises TunerError when MLflow does not answer."""
    try:
        runs = server.open(study_id, sources)
        runs.write(sources)
        runs.report(sources)
        runs.close(sources)
    except AWAY as error:
        raise TunerError(explained(error, server.uri)) from error


def explained(error: Exception, uri: str) -> str:
    """Says what a server has answered and what to do about it, that there was no answer, or what else failed."""
    address = urlsplit(uri)
    where = (
        f"MLflow at {address.scheme}://{address.hostname or ''}{address.path}"
        if address.hostname
        else "MLflow"
    )
    reason = _first_line(error)
    if isinstance(error, TunerError):
        return reason
    if not isinstance(error, AWAY):
        return f"the study cannot be drawn for {where}, by an error of the tuner: {error!r}"
    if (status := _status(error)) in REFUSED:
        return f"{where} answers {status}, {REFUSED[int(status)]} ({reason})"
    return f"{where} does not answer: {reason}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _status(error: Exception) -> int | str:
    """Returns the HTTP status of an answer, or the kind of the error where there was none."""
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    if isinstance(error, MlflowException) and (status := error.get_http_status_code()) in REFUSED:
        return int(status)
    return "away" if isinstance(error, AWAY) else type(error).__name__
