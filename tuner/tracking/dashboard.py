"""Serves MLflow's page, and says where in it a study is shown."""

import os
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from mlflow import MlflowClient

from tuner.errors import TunerError
from tuner.servers.ports import LOOPBACK, free_ports
from tuner.servers.processes import Server, end_all, spawn, wait_for
from tuner.tracking.leaderboard import REPORT, STUDY, TRAINING, VIEW, VIEW_KEY

LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def study_urls(base: str, study: str) -> tuple[str, str]:
    """Returns the addresses of a study's report and leaderboard on the server at `base`.

    Raises TunerError where it shows none: MLflow is behind, or another server has it.
    """
    client = MlflowClient(base)
    experiment = client.get_experiment_by_name(study)
    where = f"{base}/#/experiments/{experiment.experiment_id}/runs" if experiment else ""
    whole = f"attributes.run_name = '{study}' AND tags.`{STUDY}` != ''"
    found = client.search_runs([experiment.experiment_id], whole, max_results=1) if experiment else []
    if not found:
        raise TunerError(
            f"MLflow at {base} shows no study {study}: it appears there when it begins; "
            f"`tuner sync-mlflow {study}` draws one that is in the studies' database"
        )
    report = f"{where}/{found[0].info.run_id}/artifacts/{REPORT}?{TRAINING}"
    return report, f"{where}?{TRAINING}&{VIEW_KEY}={VIEW}"


@contextmanager
def serve(uri: str, artifacts: Path, port: int) -> Iterator[str]:
    """Yields the address of MLflow's page: of the server at `uri`, or of one that lives as long as the context."""
    if is_server(uri):
        yield uri.rstrip("/")
        return
    [port] = free_ports(port)
    server = _page(uri, artifacts, port)
    mark = str(server.log)
    with _terminating():
        try:
            wait_for(server, spawn(server, mark, os.environ | LIGHT))
            rmtree(server.log.parent)  # an error names the log; a page that runs needs none
            with suppress(KeyboardInterrupt):  # whenever it comes, even before anybody waits for it
                yield f"http://{LOOPBACK}:{port}"
        finally:
            end_all(mark)


def open_in_browser(address: str) -> None:
    """Opens an address where somebody sits at a desktop."""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)


def wait_for_interrupt() -> None:
    """Waits until Ctrl-C, which ends `serve` in good order, or another signal that ends the process."""
    signal.pause()


def _page(uri: str, artifacts: Path, port: int) -> Server:
    options = {
        "host": LOOPBACK,
        "port": port,
        "workers": 1,
        "backend-store-uri": uri,
        "artifacts-destination": artifacts.resolve().as_uri(),
        "uvicorn-opts": "--log-level warning",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    log = Path(tempfile.mkdtemp(prefix="tuner-"), "mlflow.log")
    return Server(("-m", "mlflow", "server", *words), log, checks=((port, "/health"),))


@contextmanager
def _terminating() -> Iterator[None]:
    """Has SIGTERM end the process like Ctrl-C: what was started is ended too.

    Both do so in the background of a shell as well, which has its processes ignore Ctrl-C.
    """

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    handlers = {signal.SIGTERM: leave, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
