"""MLflow's server is killed in a running study and started again, the driver is killed once: nothing is seen of it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from sqlite3 import connect

import pytest

from tests import warm
from tests.conftest import JobFile, clean_environment
from tests.left_over import kill_all
from tests.projection import equal_projections
from tests.tracking.shown_driver import drive, leave
from tuner import app
from tuner.files.paths import Home
from tuner.servers.ports import free_ports
from tuner.servers.processes import Server, end_all, spawn, wait_for
from tuner.settings import Settings
from tuner.store.studies import load_study
from tuner.tracking.dashboard import LIGHT

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("mlflow")]

OUTAGE = float(os.environ.get("OUTAGE_SECONDS", "0"))
"""The least time that the server is away; longer by hand."""
PATIENCE = 120


@dataclass
class Mlflow:
    """A server that can be killed and started again with all that it had."""

    folder: Path
    port: int
    process: int = 0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def server(self) -> Server:
        options = {
            "port": self.port,
            "workers": 1,
            "backend-store-uri": f"sqlite:///{self.folder}/mlflow.db",
            "artifacts-destination": (self.folder / "artifacts").as_uri(),
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return Server(
            ("-m", "mlflow", "server", *words), self.folder / "mlflow.log", ((self.port, "/health"),)
        )

    def start(self) -> None:
        self.process = spawn(self.server, str(self.folder), clean_environment() | LIGHT)

    def wait(self) -> None:
        wait_for(self.server, self.process)

    def kill(self) -> None:
        kill_all(str(self.folder))

    def shows(self, trial: int) -> bool:
        """Whether it has a run of the trial."""
        with closing(connect(self.folder / "mlflow.db")) as database:
            query = "SELECT count(*) FROM tags WHERE key = 'tuner.trial' AND value = ?"
            return bool(database.execute(query, [str(trial)]).fetchone()[0])


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[Mlflow]:
    (tmp_path / "mlflow").mkdir()
    server = Mlflow(tmp_path / "mlflow", free_ports(0)[0])
    try:
        yield server
    finally:
        end_all(str(server.folder))


def test_an_outage_and_a_killed_driver_leave_no_trace(
    mlflow: Mlflow, job_file: JobFile, home: Path, tmp_path: Path
) -> None:
    home.mkdir()
    state, log = Home(home), tmp_path / "driver.log"
    job = job_file(name="pictured", budget={"trials": 9, "seeds": 1}, predictions={"images": 2})
    mlflow.start()
    mlflow.wait()
    with started(job, state, mlflow, log) as driver:
        wait(driver, lambda: mlflow.shows(trial=2))
        mlflow.kill()
        killed = time.monotonic()
        leave(state, 2).touch()
        wait(driver, lambda: drawn(state) > 5)
        wait(driver, lambda: time.monotonic() > killed + OUTAGE)
        mlflow.start()
        mlflow.wait()
        print(f"MLflow was away for {time.monotonic() - killed:.0f} s")
        leave(state, 5).touch()
        wait(driver, lambda: mlflow.shows(trial=7))
    leave(state, 7).touch()
    with started(job, state, mlflow, log) as driver:
        driver.join(PATIENCE)
        assert driver.exitcode == 0, log.read_text()
    assert "does not answer" in log.read_text()

    anew = f"sqlite:///{tmp_path}/anew.db"
    app.sync_mlflow("pictured", Settings(state, state.storage, anew, None))
    study_id = load_study(state.storage, "pictured").id
    shown = equal_projections(mlflow.uri, anew, "pictured", study_id)
    runs = [run for name, run in shown.items() if name != "experiment"]
    assert {run["status"] for run in runs} == {"FINISHED", "KILLED", "FAILED"}
    artifacts = shown["trial 0 (default)"]["artifacts"].keys() | shown["trial 1"]["artifacts"].keys()
    assert {"config.py", "changes.diff", "train.log.json", "prediction_1 at 60, png"} <= artifacts
    print(f"{len(runs)} runs, {sum(len(run['artifacts']) for run in runs)} artifacts are equal")


@contextmanager
def started(job: Path, home: Home, mlflow: Mlflow, log: Path) -> Iterator[BaseProcess]:
    """A driver that is killed in the end, if it still runs."""
    driver = warm.start(partial(drive, job, home, mlflow.uri), clean_environment(), log, log)
    try:
        yield driver
    finally:
        driver.kill()
        driver.join()


def wait(driver: BaseProcess, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE + OUTAGE
    while not is_so():
        assert driver.is_alive(), "the driver ended too early"
        assert time.monotonic() < end
        time.sleep(0.1)


def drawn(home: Home) -> int:
    """Read past Optuna, which takes its time to connect."""
    with closing(connect(home.root / "studies.db")) as database:
        return int(database.execute("SELECT count(*) FROM trials").fetchone()[0])
