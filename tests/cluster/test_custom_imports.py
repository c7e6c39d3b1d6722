"""A module beside the config reaches the ranks: of `tuner run`, of `tuner submit`, and from the database alone."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.base import base, draw
from tests.conftest import JobFile, Tuner
from tuner.checking import check
from tuner.files.paths import Home
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.training.config import config as configs

MODULE = """
from pathlib import Path

from mmcv.runner import HOOKS, Hook
from {name}_helper import TEXT


@HOOKS.register_module(force=True)
class LeavesANote(Hook):
    def before_run(self, runner):
        Path(runner.work_dir, "note").write_text(TEXT + __file__)
"""
SPACE = "parameters: {lr: {type: float, low: 1.0e-5, high: 1.0, log: true, sets: optimizer.lr}}"


@dataclass(frozen=True)
class Beside:
    """A folder with a config and the module that it imports, and a job for one trial of it."""

    folder: Path
    job: Path
    note: Path
    """The file that a rank writes."""


@pytest.fixture
def beside(request: pytest.FixtureRequest, job_file: JobFile, home: Path, tmp_path: Path) -> Beside:
    name = f"notes_{request.node.name.rpartition('_')[2]}"
    draw(tmp_path / "blocks", images=2, validation=1)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / f"{name}.py").write_text(MODULE.format(name=name))
    (folder / f"{name}_helper.py").write_text('TEXT = "a rank was here: "')
    own = {"custom_imports": {"imports": [name]}, "custom_hooks": [{"type": "LeavesANote"}]}
    (folder / "config.py").write_text(configs.text(base(tmp_path / "blocks") | own))
    (folder / "space.yaml").write_text(SPACE)
    job = job_file(
        name="beside",
        config=str(folder / "config.py"),
        space=str(folder / "space.yaml"),
        data_root=str(tmp_path / "blocks"),
        budget={"trials": 1, "retries": 0},
        fidelity={"iterations": 1},
        resources={"gpus_per_trial": 0, "ranks": 1, "global_batch": 2, "concurrent": 1},
        predictions={"images": 0},
    )
    return Beside(folder, job, home / "studies" / "beside" / "0000" / "note")


def test_a_study_over_ray_takes_them_by_run(beside: Beside, tuner_inside: Tuner, ray_address: str) -> None:
    tuner_inside("run", beside.job, "--no-build", RAY_ADDRESS=ray_address)
    where = beside.note.read_text().removeprefix("a rank was here: ")
    assert not Path(where).is_relative_to(beside.folder), "a rank on another node sees no such folder"


def test_a_study_is_taken_up_without_the_files_by_resume(
    beside: Beside, tuner: Tuner, ray_address: str, home: Path
) -> None:
    storage, job = Home(home).storage, read_job(beside.job)
    checked = check(job, storage)
    config = configs.text(checked.config)
    store = open_study(
        storage, job, checked.fingerprint, checked.default, config=config, modules=checked.modules
    )
    assert store.lease
    store.lease.give_back()
    shutil.rmtree(beside.folder)
    done = tuner("resume", "beside", "--here", RAY_ADDRESS=ray_address, RAY_AUTH_MODE="token")
    assert done.stdout.endswith("beside: has ended\n")
    assert beside.note.read_text().startswith("a rank was here")


@pytest.mark.cluster
@pytest.mark.xdist_group("usual ports")
def test_a_job_takes_them_to_the_cluster_by_submit(beside: Beside, tuner: Tuner) -> None:
    tuner("up")
    try:
        tuner("submit", beside.job)
        shutil.rmtree(beside.folder)
        assert "has ended" not in tuner("logs", "beside").stderr
    finally:
        tuner("down")
    assert beside.note.read_text().startswith("a rank was here")
