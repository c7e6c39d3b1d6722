"""A study whose driver is killed again and again ends like one left alone, with its trials at a URL too."""

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.conftest import ROOT, JobFile, clean_environment
from tests.driver import drive
from tuner.paths import Home
from tuner.search.store import load_study
from tuner.trial import Outcome
from tuner.urls import UrlPath

TRIALS, KILLS = 40, 10


def outcomes(home: Home) -> list[object]:
    records = load_study(home.storage, "syn").records()
    return [(r.trial.params, r.trial.seed, r.outcome, r.value("mIoU")) for r in records]


def start(job: Path, home: Home) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.driver", str(job), str(home.root), str(home.checkpoints)]
    return subprocess.Popen(command, cwd=ROOT, env=clean_environment())


def kill_at(moment: int, driver: "subprocess.Popen[bytes]", home: Home) -> None:
    """SIGKILL some milliseconds after the study has so many trials."""
    while rows(home) < moment:
        assert driver.poll() is None, "the driver ended before it was killed"
        time.sleep(0.02)
    time.sleep(random.Random(moment).uniform(0, 0.05))
    driver.kill()
    driver.wait()


def rows(home: Home) -> int:
    """Read past Optuna, which takes its time to connect."""
    try:
        with closing(sqlite3.connect(f"file:{home.root / 'studies.db'}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_a_driver_killed_at_ten_random_moments_changes_nothing(
    job_file: JobFile, tmp_path: Path, url: str
) -> None:
    job = job_file(budget={"trials": TRIALS})
    calm, killed = Home(tmp_path / "calm"), Home(tmp_path / "killed", UrlPath(url))
    drive(job, calm)
    for moment in sorted(random.Random(0).sample(range(1, TRIALS), KILLS)):
        kill_at(moment, start(job, killed), killed)
    assert start(job, killed).wait() == 0
    assert outcomes(killed) == outcomes(calm)
    assert len(outcomes(killed)) == TRIALS
    ended = {outcome for _, _, outcome, _ in outcomes(killed)}
    assert ended == set(Outcome), "the study has not met everything"
