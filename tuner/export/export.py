"""Exports a trial of a study: what trains and measures it again, here and where there is no tuner."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tuner.errors import BadInput, TunerError
from tuner.export.asked import Asked
from tuner.export.card import card_text, reproduce_text
from tuner.export.contents import Contents, contents, write
from tuner.export.verification import verify
from tuner.files.modules import CACHES, Modules
from tuner.files.paths import ExportFolder, Home
from tuner.files.writing import write_text
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record
from tuner.study.history import History
from tuner.study.replication import best


class Kept(Protocol):
    """Gives a study as its store has it."""

    job: JobSpec
    origin: dict[str, Any]
    """Goes into best.json as it is: versions, commit, fingerprint of the images."""

    @property
    def modules(self) -> Modules: ...

    def records(self) -> list[Record]: ...


def export(study: Kept, home: Home, to: Path, asked: Asked) -> tuple[Record, Sequence[str]]:
    """Writes an export into the folder `to`, verified, whole or not at all; returns what the verification found.

    Raises TunerError where the trial has not completed or its files are gone, BadInput naming each check that fails.
    """
    history = History(study.job, study.records())
    record = _wanted(history, asked.trial)
    if to.exists() and not _is_export(to):
        raise BadInput.of(str(to), "holds something else than an earlier export: name another folder")
    found = contents(history, record, home, study.origin, asked.gpus)
    beside = to.with_name(f".{to.name}.{os.getpid()}")
    folder = ExportFolder(beside)
    try:
        write(found, study.modules, folder, asked.data_root)
        findings = _verified(folder, asked)
        _write_words(found, folder, findings, _tested(folder, asked))
        for caches in [*beside.rglob(CACHES)]:  # of modules that were imported for it
            shutil.rmtree(caches)
        _take_place(beside, to)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return record, findings


def _verified(folder: ExportFolder, asked: Asked) -> list[str]:
    if asked.verification == "none":
        return []
    return verify(folder, asked.data_root, full=asked.verification == "full")


def _tested(folder: ExportFolder, asked: Asked) -> dict[str, float]:
    """Measures the test split, where that is asked for. Raises BadInput where the config has none."""
    from tuner.training.exported.scores import load, metrics

    return metrics(load(folder.config, folder.checkpoint, asked.data_root, "test")) if asked.test else {}


def _write_words(
    found: Contents, folder: ExportFolder, findings: Sequence[str], test: Mapping[str, float]
) -> None:
    write_text(folder.card, card_text(found, findings, test))
    write_text(folder.reproduce, reproduce_text(found))
    folder.reproduce.chmod(0o755)


def _wanted(history: History, number: int | None) -> Record:
    job = history.job
    if number is None:
        if found := best(history):
            return found
        raise TunerError(f"no trial of study {job.name} is completed yet: nothing to export")
    for record in history.records:
        if record.trial.number == number and record.outcome is Outcome.COMPLETED:
            return record
    raise TunerError(f"study {job.name} has no completed trial {number}: `tuner status` shows those that are")


def _take_place(beside: Path, to: Path) -> None:
    old = to.with_name(f".{to.name}.old")
    if to.exists():
        to.rename(old)
    beside.rename(to)
    shutil.rmtree(old, ignore_errors=True)


def _is_export(folder: Path) -> bool:
    return folder.is_dir() and (ExportFolder(folder).best.exists() or not any(folder.iterdir()))
