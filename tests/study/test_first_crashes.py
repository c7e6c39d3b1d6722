"""A search in which nothing can work ends early, and is taken up once the cause is mended."""

from pathlib import Path
from typing import Any

from tests.conftest import ROOT, JobFile, Tuner
from tuner.search.scheduling import scheduler_for
from tuner.spec.trial import Measurement, Outcome
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.study.study import Study

DEFAULT = {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}


def opened(job_file: JobFile, storage: str, **changes: Any) -> Study:
    job = read_job(job_file(**changes))
    fingerprint = {"space": job.space.model_dump(mode="json"), "data": "abc"}
    return Study(job, open_study(storage, job, fingerprint, DEFAULT), scheduler_for)


def crash(study: Study, note: str) -> None:
    trial = study.draw()
    assert trial
    study.retry(trial.number, note, died=False)
    again = study.draw()
    assert again == trial
    study.retry(trial.number, note, died=False)


def test_three_first_trials_that_crash_alike_end_the_search_and_are_drawn_again_when_it_is_taken_up(
    job_file: JobFile, tmp_path: Any
) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    study = opened(job_file, storage)
    for number in range(3):
        assert study.hopeless is None
        crash(study, f"a rank raised: KeyError: 'PVT' in trial {number}")
    assert study.hopeless == "a rank raised: KeyError: 'PVT' in trial 2"
    assert study.draw() is None
    assert not study.is_over
    again = opened(job_file, storage)
    assert [again.draw().number for _ in range(4)] == [0, 1, 2, 3]


def test_crashes_for_different_reasons_are_only_trials_that_failed(job_file: JobFile, tmp_path: Any) -> None:
    study = opened(job_file, f"sqlite:///{tmp_path}/studies.db")
    for note in ("one", "two", "one"):
        crash(study, note)
    assert study.hopeless is None
    assert [record.outcome for record in study.records] == [Outcome.CRASHED] * 3
    assert study.draw()


def test_a_measurement_says_that_trials_can_work(job_file: JobFile, tmp_path: Any) -> None:
    study = opened(job_file, f"sqlite:///{tmp_path}/studies.db")
    crash(study, "alike")
    crash(study, "alike")
    assert [record.outcome for record in study.records] == [None, None]
    trial = study.draw()
    study.measure(trial.number, Measurement(60, {"mIoU": 1.0}, seconds=1.0))
    assert [record.outcome for record in study.records] == [Outcome.CRASHED, Outcome.CRASHED, None]
    crash(study, "alike")
    assert study.hopeless is None


def test_a_shorter_search_is_hopeless_when_all_its_trials_crash(job_file: JobFile, tmp_path: Any) -> None:
    study = opened(job_file, f"sqlite:///{tmp_path}/studies.db", budget={"trials": 2})
    crash(study, "alike")
    crash(study, "alike")
    assert study.hopeless == "alike"


def test_an_evaluation_without_the_objective_fails_its_trial_alone(job_file: JobFile, tmp_path: Any) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    study = opened(job_file, storage)
    first, second = study.draw(), study.draw()
    study.measure(first.number, Measurement(60, {"mIoU": 1.0}, seconds=1.0))
    ended = study.measure(second.number, Measurement(60, {"mAcc": 1.0, "IoU.sky": 2.0}, seconds=1.0))
    assert ended is Outcome.CRASHED
    assert study.records[1].note == "the evaluation has no mIoU: it has mAcc"
    assert opened(job_file, storage).records[1].outcome is Outcome.CRASHED


def test_the_command_line_ends_with_the_reason_and_names_no_best_config(
    job_file: JobFile, tuner_inside: Tuner, ray_address: str, tmp_path: Path
) -> None:
    config = tmp_path / "crashing.py"
    config.write_text(f"_base_ = [{str(ROOT / 'configs/synthetic.py')!r}]\nrunner = dict(crashes=1.0)\n")
    job = job_file(config=str(config), budget={"trials": 12, "retries": 0})
    done = tuner_inside("run", job, code=1, RAY_ADDRESS=ray_address)
    assert "best config" not in done.stdout + done.stderr
    assert "study syn has ended: its first trials crashed alike, and none reached a rung" in done.stderr
    assert "a rank died at iteration 60" in done.stderr
    assert "Mend the cause and run the job again" in done.stderr
    assert "Traceback" not in done.stderr
