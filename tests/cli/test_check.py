"""Every shipped space, checked with a shipped config; what is odd, but works, is noted."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, JobFile
from tuner.app import check_file
from tuner.checking import check
from tuner.files.paths import Home
from tuner.settings import Settings
from tuner.sizing.trial_config import default_params, trial_config
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.training.config import config as configs
from tuner.training.data.toy import draw

SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    draw(folder, images=4, validation=2)
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
def test_images_that_are_shrunk_below_the_crop_are_noted(
    toy_job: JobFile, home: Path, side: int, notes: int
) -> None:
    file = toy_job(ROOT / "search_spaces/optimizer.yaml", image_side=side)
    found = check_file(file, None, Settings.from_environment(home, None))
    assert len([note for note in found if "below the crop of 96x96" in note]) == notes


def test_a_study_has_the_precision_that_differs_from_its_configs(job_file: JobFile, home: Path) -> None:
    def kept(**resources: Any) -> dict[str, Any]:
        asked = {"gpus_per_trial": 0, "ranks": 1, "global_batch": 8, **resources}
        return dict(check(read_job(job_file(resources=asked)), Home(home).storage).fingerprint)

    plain = kept()
    assert "precision" not in plain
    assert kept(precision="float32") == plain
    assert kept(precision="bf16") == plain | {"precision": "bf16"}


def test_less_precision_without_a_gpu_is_noted(toy_job: JobFile, home: Path) -> None:
    resources = {"gpus_per_trial": 0, "ranks": 1, "global_batch": 8, "precision": "bf16"}
    file = toy_job(ROOT / "search_spaces/optimizer.yaml", resources=resources)
    notes = check_file(file, None, Settings.from_environment(home, None))
    assert any(note.startswith("resources.precision: bf16 is for GPUs") for note in notes)


def test_first_weights_count_by_what_is_in_their_file(toy_job: JobFile, home: Path, tmp_path: Path) -> None:
    def kept(file: Path, content: bytes) -> object:
        file.write_bytes(content)
        job = read_job(toy_job(ROOT / "search_spaces/optimizer.yaml", pretrained=str(file)))
        return check(job, Home(home).storage).fingerprint["pretrained"]

    first = kept(tmp_path / "weights.pth", b"one")
    assert kept(tmp_path / "moved.pth", b"one") == first
    assert kept(tmp_path / "weights.pth", b"another") != first
