"""What an export holds, from wherever the study's trials lie."""

import json
from pathlib import Path

import pytest

from tests.conftest import JobFile
from tests.records import STUDY
from tuner.errors import TunerError
from tuner.export import export
from tuner.files import read_job, write_text
from tuner.job import JobSpec
from tuner.paths import Home


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


def test_the_best_trials_files_and_its_card(job: JobSpec, trials_home: Home, tmp_path: Path) -> None:
    best = trials_home.trial(job.name, 3)
    write_text(best.config, "lr = 1")
    write_text(best.checkpoint, "weights")
    export(job, STUDY, trials_home, tmp_path / "best", {"data": "abc"})
    found = {file.name: file.read_text() for file in (tmp_path / "best").iterdir()}
    card = json.loads(found.pop("best.json"))
    assert found == {"config.py": "lr = 1", "checkpoint.pth": "weights"}
    assert (card["trial"], card["metrics"]["mIoU"], card["data"]) == (3, 42.25, "abc")


def test_an_export_of_files_that_lie_elsewhere_says_so(
    job: JobSpec, trials_home: Home, tmp_path: Path
) -> None:
    with pytest.raises(TunerError, match=r"there is no .*config\.py.*: are --home and --checkpoints"):
        export(job, STUDY, trials_home, tmp_path / "best", {})
    assert not (tmp_path / "best").exists()
