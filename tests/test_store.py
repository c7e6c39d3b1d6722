"""What every database must keep of a study, and who may drive it."""

import subprocess
import sys
import threading
import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tests.conftest import ROOT, JobFile, clean_environment
from tuner.errors import TunerError
from tuner.files import read_job
from tuner.job import JobSpec
from tuner.search.lease import SECONDS, Lease, leases
from tuner.search.scheduling import rule
from tuner.search.store import OptunaStore, load_study, open_study
from tuner.study import Study
from tuner.trial import Measurement, Outcome, Trial

DEFAULT = {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file(budget={"trials": 24}))


def opened(storage: str, job: JobSpec) -> OptunaStore:
    return open_study(storage, job, {"data": "abc"}, DEFAULT)


def measurement(trial: Trial, iteration: int) -> Measurement:
    return Measurement(iteration, {"mIoU": float(trial.params["lr"]) * 1000 + iteration / 3}, iteration / 7)


def test_what_is_written_is_read_to_the_last_digit(storage: str, job: JobSpec) -> None:
    study = Study(job, opened(storage, job), rule)
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


def test_optuna_holds_what_asha_stopped_as_pruned_with_its_values(storage: str, job: JobSpec) -> None:
    study = Study(job, opened(storage, job), rule)
    while trial := study.draw():
        for iteration in job.fidelity.stops:
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
    study = Study(job, opened(storage, job), rule)
    running: list[tuple[Trial, list[int]]] = []
    drawn = []
    while study.left or running:
        while len(running) < 8 and (trial := study.draw()):
            running.append((trial, list(job.fidelity.stops)))
            drawn.append(trial)
        trial, stops = running.pop(0)
        if not study.measure(trial.number, measurement(trial, stops.pop(0))):
            running.append((trial, stops))
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
    program = f"from tuner.search.lease import Lease; Lease({storage!r}, {study!r}); print('has it'); input()"
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
    monkeypatch.setattr("tuner.search.lease.BEAT", 0.05)
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
