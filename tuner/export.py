"""The best config of a study, with all that is needed to train it again."""

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from tuner.errors import BadInput, TunerError
from tuner.files import write_json
from tuner.job import JobSpec
from tuner.paths import AnyPath, Home, TrialFolder
from tuner.race import best, findings
from tuner.trial import Outcome, Record

PACKAGES = ("coc-tuner", "torch", "mmcv-full", "mmsegmentation", "ray", "optuna", "mlflow", "numpy")
CARD = "best.json"


class Kept(Protocol):
    """A study as its store has it."""

    job: JobSpec
    origin: dict[str, Any]
    """Goes into best.json as it is: versions, commit, fingerprint of the pictures."""

    def records(self) -> list[Record]: ...


def export(study: Kept, number: int | None, home: Home, to: Path) -> Record:
    """Writes config.py, the checkpoint and best.json into the folder `to`, whole or not at all.

    Of the trial with the number, or of the best. Raises TunerError where it has not completed.
    """
    job, records = study.job, study.records()
    record = _wanted(job, records, number)
    if to.exists() and not _is_export(to):
        raise BadInput.of(str(to), "holds something else than an earlier export: name another folder")
    beside = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        _write(
            beside,
            home.trial(job.name, record.trial.number),
            _card(job, record, findings(job, records) | study.origin),
        )
        _take_place(beside, to)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return record


def made_with() -> dict[str, Any]:
    """The versions and the commit that this process runs."""
    versions = {name: _version(name) for name in PACKAGES}
    return {"versions": versions, "git_commit": _git_commit()}


def _wanted(job: JobSpec, records: list[Record], number: int | None) -> Record:
    if number is None:
        if found := best(job, records):
            return found
        raise TunerError(f"no trial of study {job.name} is completed yet: nothing to export")
    for record in records:
        if record.trial.number == number and record.outcome is Outcome.COMPLETED:
            return record
    raise TunerError(f"study {job.name} has no completed trial {number}: `tuner status` shows those that are")


def _card(job: JobSpec, record: Record, more: dict[str, Any]) -> dict[str, Any]:
    assert record.last is not None
    return {
        "study": job.name,
        "trial": record.trial.number,
        "params": dict(record.trial.params),
        "metrics": dict(record.last.metrics),
        "iteration": record.last.iteration,
        "seed": record.trial.seed,
        "ranks": job.resources.processes,
        "global_batch": job.resources.global_batch,
        **more,
    }


def _write(folder: Path, trial: TrialFolder, card: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    try:
        _copy(trial.config, folder)
        if trial.checkpoint.exists():
            _copy(trial.checkpoint, folder)
    except FileNotFoundError as error:
        raise TunerError(
            f"there is no {trial.config}: are --home and --checkpoints those that the study ran with?"
        ) from error
    except OSError as error:
        raise TunerError(f"{trial.root} cannot be exported: {error}") from error
    write_json(folder / CARD, card)


def _copy(file: AnyPath, folder: Path) -> None:
    with file.open("rb") as source, (folder / file.name).open("wb") as target:
        shutil.copyfileobj(source, target)


def _take_place(beside: Path, to: Path) -> None:
    old = to.with_name(f".{to.name}.old")
    if to.exists():
        to.rename(old)
    beside.rename(to)
    shutil.rmtree(old, ignore_errors=True)


def _is_export(folder: Path) -> bool:
    return folder.is_dir() and ((folder / CARD).exists() or not any(folder.iterdir()))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
