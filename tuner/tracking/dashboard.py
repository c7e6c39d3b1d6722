"""MLflow's page: the leaderboard that is prepared in it, its address, and serving it."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

from mlflow import MlflowClient

from tuner.errors import TunerError
from tuner.job import JobSpec

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds; a first start draws the tables of MLflow's database."""
LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
VIEW = "leaderboard"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def safe_name(name: str) -> str:
    """A name that MLflow accepts for a metric or a param."""
    return re.sub(r"[^A-Za-z0-9_\-. :]", "_", name).strip()


def leaderboard(job: JobSpec, parent: str) -> dict[str, Any]:
    """The trials of a study by their objective, and two charts, in the words of MLflow's page.

    Sorted by a metric, the page shows no nesting: the parent is left out by the filter.
    """
    metric = safe_name(job.objective.metric)
    params = [safe_name(name) for name in job.space.parameters]
    columns = [f"params.`{name}`" for name in params]
    costs = [f"metrics.`{job.objective.cost}`"] if job.objective.cost else []
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": job.objective.direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [f"metrics.`{metric}`", *costs, *columns, "tags.`outcome`"],
        "compareRunSections": [{"uuid": VIEW, "name": "Trials", "display": True, "columns": 2}],
        "compareRunCharts": [_parallel(params, metric), _line(metric)],
    }


def _parallel(params: list[str], metric: str) -> dict[str, Any]:
    return _chart("PARALLEL") | {"selectedParams": params, "selectedMetrics": [metric]}


def _line(metric: str) -> dict[str, Any]:
    unsmoothed = {"lineSmoothness": 0, "useGlobalLineSmoothing": False}
    what = {"metricKey": metric, "selectedMetricKeys": [metric], "xAxisKey": "step"}
    return _chart("LINE") | what | unsmoothed


def _chart(kind: str) -> dict[str, Any]:
    return {"uuid": f"{VIEW}-{kind.lower()}", "type": kind, "metricSectionId": VIEW}


def description(job: JobSpec) -> str:
    return (
        f"Search of {', '.join(job.space.parameters)} for {job.config.name}: {job.budget.trials} trials, "
        f"{job.objective.direction} {job.objective.metric}.\n\n"
        f"A run is a trial; `outcome` says how it ended. `tuner dashboard {job.name}` opens the leaderboard."
    )


def leaderboard_url(base: str, study: str) -> str:
    """The address of a study's leaderboard on the server at `base`. Raises TunerError when it shows none."""
    experiment = MlflowClient(base).get_experiment_by_name(study)
    if experiment is None:
        raise TunerError(f"MLflow at {base} shows no study {study}: it appears there with its first trial")
    where = f"{base}/#/experiments/{experiment.experiment_id}/runs"
    return f"{where}?workflowType=machine_learning&viewStateShareKey={VIEW}"


@contextmanager
def serve(uri: str, artifacts: Path, port: int) -> Iterator[str]:
    """The address of MLflow's page: of the server at `uri`, or of one that lives as long as the context."""
    if is_server(uri):
        yield uri.rstrip("/")
        return
    port = _free_port(port)
    address = f"http://{HOST}:{port}"
    with tempfile.TemporaryFile("w+") as log, _terminating():
        server = _start(uri, artifacts, port, log)
        try:
            _wait_until_healthy(address, server, log)
            with suppress(KeyboardInterrupt):  # whenever it comes, even before anybody waits for it
                yield address
        finally:
            _end(server)


def wait_for_interrupt() -> None:
    """Until Ctrl-C, which ends `serve` in good order, or another signal that ends the process."""
    signal.pause()


def _start(uri: str, artifacts: Path, port: int, log: IO[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--backend-store-uri", uri, "--artifacts-destination", artifacts.resolve().as_uri()]
    command += ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    environment = os.environ | LIGHT
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _wait_until_healthy(address: str, server: subprocess.Popen[bytes], log: IO[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urlopen(f"{address}/health", timeout=5):  # noqa: S310  # always http
            return
        time.sleep(0.2)
    log.seek(0)
    raise TunerError(f"MLflow's page did not start: {log.read().strip() or 'no answer'}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends the server and its workers: a session of their own."""
    for stop in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, stop)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=5)


@contextmanager
def _terminating() -> Iterator[None]:
    """SIGTERM ends the process like Ctrl-C: what was started is ended too."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port(wanted: int) -> int:
    """The wanted port, or the next that is free."""
    while not (free := _bindable(wanted)):
        wanted += 1
    return free


def _bindable(port: int) -> int | None:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])
    return None
