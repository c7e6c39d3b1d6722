"""optuna-dashboard over a study's database: it shows, and changes nothing."""

import json
from pathlib import Path
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.conftest import JobFile
from tests.driver import drive
from tuner.errors import TunerError
from tuner.files.paths import Home
from tuner.store.studies import load_study
from tuner.tracking import optuna_page


@pytest.fixture
def studied(job_file: JobFile, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    drive(job_file(budget={"trials": 3}), home)
    return home


@pytest.mark.cluster
def test_the_page_shows_a_study_and_refuses_to_change_it(studied: Home) -> None:
    pytest.importorskip("optuna_dashboard")
    before = load_study(studied.storage, "syn").records()
    with optuna_page.serve(studied.storage, "syn", 0) as address:
        base, _, study_id = address.rpartition("/dashboard/studies/")
        with urlopen(address, timeout=20) as page:
            assert "<html" in page.read().decode()
        with urlopen(f"{base}/api/studies/{study_id}?after=0", timeout=20) as answer:
            assert len(json.load(answer)["trials"]) == 3
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(f"{base}/api/studies/{study_id}", method="DELETE"), timeout=20)
        assert refused.value.code == 405
        refused.value.close()
    assert load_study(studied.storage, "syn").records() == before


def test_without_the_package_it_is_told_how_to_install_it() -> None:
    with (
        patch.dict("sys.modules", {"optuna_dashboard": None}),
        pytest.raises(TunerError, match=r"pip install 'coc-tuner\[optuna\]'"),
        optuna_page.serve("sqlite://", None, 0),
    ):
        pass
