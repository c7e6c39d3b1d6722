"""A study whose parameter values, class names and notes are what breaks pages, tables and shells."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from tests.conftest import ROOT, JobFile
from tests.large_study import NASTY
from tuner.spec.job import JobSpec
from tuner.spec.trial import Record
from tuner.spec.yaml_files import read_job


def nasty_job(job_file: JobFile, folder: Path, **changes: object) -> JobSpec:
    """The synthetic job with one more parameter, whose values are nasty; its objective is a class with such a name."""
    space = yaml.safe_load((ROOT / "tests/space.yaml").read_text())
    space["parameters"]["kind"] = {"type": "choice", "choices": list(NASTY), "sets": "model.kind"}
    file = folder / "nasty.yaml"
    file.write_text(yaml.safe_dump(space, allow_unicode=True, sort_keys=False))
    own = {"space": str(file), "objective": {"metric": f"IoU.{NASTY[0]}"}}
    return read_job(job_file(**own | changes))


def nasty(records: Sequence[Record]) -> list[Record]:
    """The same records with those values in turn, and with notes where trials failed."""
    return [_nasty(record, NASTY[place % len(NASTY)]) for place, record in enumerate(records)]


def _nasty(record: Record, text: str) -> Record:
    trial = replace(record.trial, params={**record.trial.params, "kind": text})
    failed = record.outcome is not None and record.outcome.failed
    return replace(record, trial=trial, note=text if failed else record.note)
