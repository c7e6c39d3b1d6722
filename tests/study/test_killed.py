"""A study whose driver is killed or stopped for a while ends like one left alone, with its trials at a URL too."""

import json
import random
import sqlite3
import time
from contextlib import closing, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from tests import warm
from tests.conftest import JobFile, clean_environment
from tests.driver import USUAL, Times, drive
from tuner.files.paths import AnyPath, Home
from tuner.files.reading import text_of
from tuner.files.urls import UrlPath
from tuner.spec.trial import Outcome
from tuner.store.studies import load_study

pytestmark = pytest.mark.long
TRIALS, KILLS = 40, 10


def outcomes(home: Home) -> list[object]:
    records = load_study(home.storage, "syn").records()
    return [(r.trial.params, r.trial.seed, r.outcome, r.value("mIoU")) for r in records]


def start(job: Path, home: Home, times: Times = USUAL, err: Path = warm.NOWHERE) -> BaseProcess:
    return warm.start(partial(drive, job, home, times), clean_environment(), err=err)


def kill_at(moment: int, driver: BaseProcess, home: Home) -> None:
    """SIGKILL some milliseconds after the study has so many trials."""
    while rows(home) < moment:
        assert driver.is_alive(), "the driver ended before it was killed"
        time.sleep(0.02)
    time.sleep(random.Random(moment).uniform(0, 0.05))
    driver.kill()
    driver.join()


def ended(driver: BaseProcess) -> int | None:
    """Its exit code, once it has ended by itself."""
    driver.join()
    return driver.exitcode


def rows(home: Home) -> int:
    return number(home, "SELECT count(*) FROM trials")


def number(home: Home, query: str) -> int:
    """Read past Optuna, which takes its time to connect."""
    try:
        with closing(sqlite3.connect(f"file:{home.root / 'studies.db'}?mode=ro", uri=True)) as database:
            return int(database.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def freeze(driver: BaseProcess, home: Home) -> None:
    """SIGSTOP at a moment at which it does not hold SQLite's file, which nobody else could use then."""
    process = psutil.Process(driver.pid)
    while True:
        process.suspend()
        while process.status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(home.root / "studies.db", 0)) as file,
        ):
            file.execute("BEGIN EXCLUSIVE")
            return
        process.resume()


def test_a_driver_killed_at_ten_random_moments_changes_nothing(
    job_file: JobFile, tmp_path: Path, url: str
) -> None:
    job = job_file(budget={"trials": TRIALS}, search={"scheduler": "screen"})
    calm, killed = Home(tmp_path / "calm"), Home(tmp_path / "killed", UrlPath(url))
    drive(job, calm)
    for moment in sorted(random.Random(0).sample(range(1, TRIALS), KILLS)):
        kill_at(moment, start(job, killed), killed)
    assert ended(start(job, killed)) == 0
    assert outcomes(killed) == outcomes(calm)
    assert len(outcomes(killed)) == TRIALS
    met = {outcome for _, _, outcome, _ in outcomes(killed)}
    assert met == set(Outcome), "the study has not met everything"


def test_what_a_kill_threw_away_of_a_training_is_known(job_file: JobFile, tmp_path: Path) -> None:
    """A checkpoint at iteration 60 alone, and a note of how far the training is about every second."""
    pace, job = 0.004, job_file(budget={"trials": 1}, fidelity={"iterations": 480, "rungs": [60, 480]})
    home = Home(tmp_path / "home", tmp_path / "trials")
    driver = start(job, home, Times(pace))
    file = home.trial("syn", 0).time_lost
    while reached(file) < 200 * pace:
        assert driver.is_alive(), "the driver ended before it was killed"
        time.sleep(0.02)
    driver.kill()
    driver.join()
    noted = reached(file)
    drive(job, home, Times(pace))
    (record,) = load_study(home.storage, "syn").records()
    assert record.last
    assert record.last.seconds == pytest.approx(480 * pace)
    assert record.last.seconds_lost == pytest.approx(noted - 60 * pace)


def reached(file: AnyPath) -> float:
    return float(json.loads(text_of(file) or '{"reached": 0}')["reached"])


def test_a_driver_stopped_for_longer_than_its_lease_changes_nothing_when_it_goes_on(
    job_file: JobFile, tmp_path: Path
) -> None:
    """Its own heart beats too late to tell it: it trains the trial that the new driver trains, and is refused."""
    job = job_file(budget={"trials": 4})
    calm, stopped, err = Home(tmp_path / "calm"), Home(tmp_path / "stopped"), tmp_path / "err"
    first = start(job, stopped, Times(0.002, lease=1, beat=600), err)
    while rows(stopped) < 2:
        assert first.is_alive()
        time.sleep(0.02)
    freeze(first, stopped)
    second = start(job, stopped, Times(0.002, lease=1, beat=0.2))
    while number(stopped, "SELECT attempt FROM tuner_attempts") < 2:
        assert second.is_alive()
        time.sleep(0.02)
    psutil.Process(first.pid).resume()
    assert ended(first) == 1
    assert "has taken over: stopped" in err.read_text()
    assert second.is_alive(), "the second had ended before the first went on"
    assert ended(second) == 0
    drive(job, calm)
    assert outcomes(stopped) == outcomes(calm)
