"""Hostile job files through `tuner check` and `tuner submit`: each is refused in sentences, or good.

GENERATED=1000 python -m pytest tests/cli/test_hostile.py -s
"""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import JobFile
from tests.hostile import hostile
from tests.loop import DEFAULT
from tuner.cli import main
from tuner.cluster import submission
from tuner.files.paths import Home
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study

COUNT = int(os.environ.get("GENERATED", "40"))
PRINTED = 250_000
"""Characters of an answer, at the most."""


@pytest.fixture
def _surroundings(monkeypatch: pytest.MonkeyPatch, job_file: JobFile, home: Path) -> None:
    """A database that holds a study, and a cluster that takes all."""
    monkeypatch.setattr(submission, "send", lambda *_: "sent-1")
    job = read_job(job_file(name="s0"))
    open_study(Home(home).storage, job, {"data": "abc"}, DEFAULT)


@pytest.mark.usefixtures("_surroundings")
@pytest.mark.parametrize("command", ["check", "submit"])
def test_a_hostile_job_file_is_refused_in_sentences_or_good(
    command: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds, codes = {}, {}
    for number in range(COUNT):
        with TemporaryDirectory() as folder:
            file = hostile(number, Path(folder))
            monkeypatch.setattr(sys, "argv", ["tuner", "--home", str(home), command, str(file)])
            start = time.process_time()
            with pytest.raises(SystemExit) as ended:
                main()
            seconds[number] = time.process_time() - start
            codes[number] = ended.value.code or 0
        out, err = capsys.readouterr()
        assert codes[number] in (0, 2), f"number {number}: {out}\n{err}"
        assert len(out) + len(err) < PRINTED, f"number {number}"
    slowest = sorted(seconds.items(), key=lambda each: -each[1])[:3]
    accepted = list(codes.values()).count(0)
    with capsys.disabled():
        print(f"\n{command}: {COUNT} files, {accepted} good; slowest by number, in seconds: {slowest}")
    assert 0 < accepted < COUNT
