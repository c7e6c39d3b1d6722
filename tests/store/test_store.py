"""What every database must keep of a study, and who may drive it."""

import gc
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.conftest import POSTGRESQL, ROOT, JobFile, clean_environment
from tests.loop import DEFAULT
from tuner.errors import BadInput, TunerError
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Outcome, Trial
from tuner.spec.yaml_files import read_job
from tuner.store.lease import SECONDS, Lease, leases
from tuner.store.store import OptunaStore
from tuner.store.studies import load_study, open_study
from tuner.study.study import Study


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 24}))


def opened(storage: str, job: JobSpec) -> OptunaStore:
    return open_study(storage, job, {"data": "abc"}, DEFAULT)


def measurement(trial: Trial, iteration: int) -> Measurement:
    return Measurement(iteration, {"mIoU": float(trial.params["lr"]) * 1000 + iteration / 3}, iteration / 7)


def test_what_is_written_is_read_to_the_last_digit(storage: str, job: JobSpec) -> None:
    study = Study(job, opened(storage, job), scheduler_for)
    for ending in (None, Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.CRASHED):
        trial = study.draw()
        assert trial
        study.measure(trial.number, measurement(trial, 60))
        if ending:
            study.fail(trial.number, ending, f"{ending.value} – so it was")
    kept = load_study(storage, job.name).records()
    assert [(r.trial, r.outcome, r.measurements, r.note) for r in kept] == [
        (r.trial, r.outcome, r.measurements, r.note) for r in study.records
    ]


def test_a_file_that_somebody_holds_is_told_in_a_sentence(job: JobSpec, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'studies.db'}?timeout=0.1"
    opened(storage, job).lease.give_back()
    with closing(sqlite3.connect(tmp_path / "studies.db")) as frozen:
        frozen.execute("BEGIN IMMEDIATE")
        with pytest.raises(TunerError, match="the studies' database does not answer: database is locked"):
            Lease(storage, job.name)


@pytest.mark.parametrize("storage", [POSTGRESQL], indirect=True)
def test_who_looks_at_a_study_keeps_no_connection(storage: str, job: JobSpec) -> None:
    opened(storage, job)
    gc.disable()  # connections end with the look, not when Python collects garbage
    try:
        for _ in range(5):
            load_study(storage, job.name).records()
    finally:
        gc.enable()
    with create_engine(storage, poolclass=NullPool).connect() as connection:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert connection.execute(text(count)).scalar_one() == 1


def test_optuna_holds_what_asha_stopped_as_pruned_with_its_values(storage: str, job: JobSpec) -> None:
    study = Study(job, opened(storage, job), scheduler_for)
    while trial := study.draw():
        for iteration in job.fidelity.evaluation_points:
            if study.measure(trial.number, measurement(trial, iteration)):
                break
    kept = optuna.load_study(study_name=job.name, storage=storage).get_trials()
    states = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}
    for record, trial in zip(study.records, kept, strict=True):
        assert record.outcome
        assert trial.state is states[record.outcome]
        assert trial.intermediate_values == {m.iteration: m.metrics["mIoU"] for m in record.measurements}
    assert {trial.state for trial in kept} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_eight_trials_at_a_time_are_each_there_once(storage: str, job: JobSpec) -> None:
    """Eight run at any time; each in turn goes a rung further."""
    job = job.model_copy(update={"budget": job.budget.model_copy(update={"trials": 40})})
    study = Study(job, opened(storage, job), scheduler_for)
    running: list[tuple[Trial, list[int]]] = []
    drawn = []
    while study.left or running:
        while len(running) < 8 and (trial := study.draw()):
            running.append((trial, list(job.fidelity.evaluation_points)))
            drawn.append(trial)
        trial, evaluation_points = running.pop(0)
        if not study.measure(trial.number, measurement(trial, evaluation_points.pop(0))):
            running.append((trial, evaluation_points))
    assert [trial.number for trial in drawn] == list(range(40))
    kept = load_study(storage, job.name).records()
    assert [record.trial for record in kept] == drawn
    assert all(record.outcome for record in kept)


def test_two_studies_in_one_database_do_not_mix(storage: str, job: JobSpec) -> None:
    first, second = (opened(storage, job.model_copy(update={"name": name})) for name in ("first", "second"))
    for store in (first, second, first):
        store.draw()
    assert [len(load_study(storage, name).records()) for name in ("first", "second")] == [2, 1]


def another_driver(storage: str, study: str) -> "subprocess.Popen[str]":
    """A process that holds the study's lease until it is killed."""
    program = f"from tuner.store.lease import Lease; Lease({storage!r}, {study!r}); print('has it'); input()"
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment()
    )
    assert process.stdout
    assert process.stdout.readline() == "has it\n"
    return process


def test_a_second_driver_is_refused_until_the_first_is_dead(storage: str, job: JobSpec) -> None:
    with another_driver(storage, job.name) as driver:
        with pytest.raises(TunerError, match=rf"driven by \w+@.+, pid {driver.pid}, which gave .* \d+ s ago"):
            opened(storage, job)
        driver.kill()
        driver.wait()
        assert opened(storage, job).draw().number == 0


def elsewhere(storage: str, silent: float) -> None:
    """The holder of the lease is on another host, silent for so long."""
    change_lease(storage, host="far", renewed=leases.c.renewed - silent)


def change_lease(storage: str, **values: Any) -> None:
    engine = create_engine(storage, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(leases.update().values(**values))
    engine.dispose()


def test_a_driver_elsewhere_is_taken_over_when_its_lease_has_run_out_and_then_stops(
    storage: str, job: JobSpec
) -> None:
    first = opened(storage, job)
    elsewhere(storage, silent=SECONDS / 2)
    with pytest.raises(
        TunerError, match=r"3\d s ago: end it first, or wait until it has been silent for 60 s"
    ):
        opened(storage, job)
    elsewhere(storage, silent=SECONDS)
    opened(storage, job)
    with pytest.raises(TunerError, match="has taken over: stopped"):
        first.draw()
    assert load_study(storage, job.name).records() == []


def test_no_write_of_an_older_attempt_is_kept(storage: str, job: JobSpec) -> None:
    """The first driver has looked at its lease, and knows of no loss, when the second takes over."""
    first = opened(storage, job)
    trial = first.draw()
    assert first.attempt == 1
    elsewhere(storage, silent=2 * SECONDS)
    assert opened(storage, job).attempt == 2
    writes: list[Callable[[], object]] = [
        first.draw,
        lambda: first.replicate(0, 1),
        lambda: first.measured(0, measurement(trial, 60)),
        lambda: first.ended(0, Outcome.CRASHED, "late"),
    ]
    for write in writes:
        with pytest.raises(TunerError, match="has taken over: stopped"):
            write()
    [kept] = load_study(storage, job.name).records()
    assert (kept.outcome, kept.measurements, kept.note) == (None, (), "")


def test_of_drivers_that_take_over_at_once_one_has_it(storage: str, job: JobSpec) -> None:
    Lease(storage, job.name)
    elsewhere(storage, silent=2 * SECONDS)
    got: list[Lease] = []
    refused: list[TunerError] = []

    def take() -> None:
        try:
            got.append(Lease(storage, job.name))
        except TunerError as error:
            refused.append(error)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alive = []
    for lease in got:
        try:
            lease.renew()
            alive.append(lease)
        except TunerError:
            continue
    assert len(alive) == 1


def test_a_lost_lease_interrupts_its_driver(
    storage: str, job: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.store.lease.BEAT", 0.05)
    store = opened(storage, job)

    def driving() -> None:
        with store.driven():
            change_lease(storage, token="another", holder="someone@far, pid 1")
            while True:
                time.sleep(0.05)

    with pytest.raises(TunerError, match="someone@far, pid 1 has taken over: stopped"):
        driving()


def test_a_study_that_ended_is_free(storage: str, job: JobSpec) -> None:
    with opened(storage, job).driven():
        pass
    elsewhere(storage, silent=0)
    assert opened(storage, job).draw().number == 0


def test_a_study_of_a_later_version_is_refused_by_the_key_that_nobody_knows(
    storage: str, job: JobSpec
) -> None:
    opened(storage, job)
    kept = optuna.load_study(study_name=job.name, storage=storage)
    kept.set_user_attr("job", kept.user_attrs["job"] | {"later": 1})
    with pytest.raises(TunerError, match="another version of the tuner: it cannot read later of its job"):
        load_study(storage, job.name)


def test_a_study_of_an_earlier_version_is_refused_with_what_to_do(storage: str, job: JobSpec) -> None:
    opened(storage, job)
    optuna.load_study(study_name=job.name, storage=storage).set_user_attr("format", 1)
    advice = "made by another version of the tuner.*finish it with that version, or give the job another name"
    with pytest.raises(BadInput, match=advice):
        opened(storage, job)
    with pytest.raises(TunerError, match=advice):
        load_study(storage, job.name)
