"""What an export holds, from wherever the study's trials lie."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import JobFile
from tests.records import STUDY
from tuner.errors import TunerError
from tuner.export import export
from tuner.files import read_job, write_text
from tuner.job import JobSpec
from tuner.paths import Home
from tuner.trial import Record


@dataclass
class Study:
    job: JobSpec
    origin: dict[str, Any] = field(default_factory=lambda: {"data": "abc"})

    def records(self) -> list[Record]:
        return STUDY


@pytest.fixture
def study(job_file: JobFile) -> Study:
    return Study(read_job(job_file()))


def test_the_best_trials_files_and_its_card(study: Study, trials_home: Home, tmp_path: Path) -> None:
    best = trials_home.trial(study.job.name, 3)
    write_text(best.config, "lr = 1")
    write_text(best.checkpoint, "weights")
    assert export(study, None, trials_home, tmp_path / "best").trial.number == 3
    found = {file.name: file.read_text() for file in (tmp_path / "best").iterdir()}
    card = json.loads(found.pop("best.json"))
    assert found == {"config.py": "lr = 1", "checkpoint.pth": "weights"}
    assert (card["trial"], card["metrics"]["mIoU"], card["data"]) == (3, 42.25, "abc")


def test_another_trial_than_the_best_if_it_has_completed(study: Study, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write_text(home.trial(study.job.name, 0).config, "lr = 2")
    export(study, 0, home, tmp_path / "to")
    card = json.loads((tmp_path / "to" / "best.json").read_text())
    assert (card["trial"], card["front"]) == (0, [])
    assert (tmp_path / "to" / "config.py").read_text() == "lr = 2"
    for pruned_failed_or_unknown in (1, 2, 99):
        with pytest.raises(TunerError, match=f"study syn has no completed trial {pruned_failed_or_unknown}"):
            export(study, pruned_failed_or_unknown, home, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_an_export_of_files_that_lie_elsewhere_says_so(
    study: Study, trials_home: Home, tmp_path: Path
) -> None:
    with pytest.raises(TunerError, match=r"there is no .*config\.py.*: are --home and --checkpoints"):
        export(study, None, trials_home, tmp_path / "best")
    assert not (tmp_path / "best").exists()
