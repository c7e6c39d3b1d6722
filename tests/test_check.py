"""Every shipped space, checked with a shipped config; what is odd, but works, is noted."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, JobFile
from tuner.app import check_file
from tuner.files import read_job
from tuner.overrides import default_params, trial_config
from tuner.paths import Home
from tuner.search.store import open_study
from tuner.settings import Settings
from tuner.training import config as configs
from tuner.training.toy import draw

SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    draw(folder, pictures=4, validation=2)
    return folder


@pytest.fixture
def toy_job(job_file: JobFile, toys: Path) -> JobFile:
    def write(space: Path, **changes: Any) -> Path:
        return job_file(
            **changes,
            config=str(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"),
            data_root=str(toys),
            space=str(space),
            fidelity={"iterations": 90},
        )

    return write


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.stem)
def test_every_shipped_space_passes_and_its_draws_make_configs(
    toy_job: JobFile, space: Path, home: Path
) -> None:
    file = toy_job(space)
    settings = Settings.from_environment(home, None)
    crowded = [note for note in check_file(file, None, settings) if "centers will repeat" in note]
    assert bool(crowded) is any(
        parameter.sets_centers for parameter in read_job(file).space.parameters.values()
    )
    job = read_job(file)
    config = configs.read(job.config)
    store = open_study(Home(home).storage, job, {"data": "abc"}, default_params(job, config))
    for _ in range(3):
        trial = store.draw()
        made = trial_config(job, config, trial)
        assert made["optimizer"]["lr"] == trial.params["lr"]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.stem)
def test_every_shipped_space_says_what_it_is_for(space: Path) -> None:
    assert space.read_text().startswith("# ")


@pytest.mark.parametrize(("side", "notes"), [(95, 1), (96, 0)])
def test_pictures_that_are_shrunk_below_the_crop_are_noted(
    toy_job: JobFile, home: Path, side: int, notes: int
) -> None:
    file = toy_job(ROOT / "search_spaces/optimizer.yaml", picture_side=side)
    found = check_file(file, None, Settings.from_environment(home, None))
    assert len([note for note in found if "below the crop of 96x96" in note]) == notes
