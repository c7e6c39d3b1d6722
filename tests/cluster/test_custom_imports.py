"""Modules of a user's own reach the ranks from the database alone.

`test_wheel` has them with `run`, `test_job_submission` with `submit`.
"""

import shutil
import sys
from pathlib import Path

from tests.conformance.base import base, draw
from tests.conftest import JobFile, Tuner
from tests.own_code import imported_from, leaves_a_note, write_own_code
from tuner.checking import check
from tuner.files.paths import Home
from tuner.spec.job import JobSpec
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.training.config import config as configs

SPACE = "parameters: {lr: {type: float, low: 1.0e-5, high: 1.0, log: true, sets: optimizer.lr}}"


def test_a_study_is_taken_up_where_the_files_are_not(
    job_file: JobFile, tuner_inside: Tuner, ray_address: str, home: Path, tmp_path: Path
) -> None:
    folder, note = tmp_path / "own", tmp_path / "note"
    folder.mkdir()
    write_own_code(folder, "kept_module")
    draw(tmp_path / "blocks", images=2, validation=1)
    own = {"custom_imports": {"imports": ["kept_module"]}, "custom_hooks": [leaves_a_note(note)]}
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
    begin(read_job(job), Home(home).storage)
    forget(folder)
    done = tuner_inside("resume", "beside", "--here", RAY_ADDRESS=ray_address)
    assert done.stdout.endswith("beside: has ended\n")
    assert imported_from(note).parent.name.startswith("tuner-modules-"), "a node's own folder"


def begin(job: JobSpec, storage: str) -> None:
    """Opens the job's study, as its first driver does, and leaves it."""
    checked = check(job, storage)
    config = configs.text(checked.config)
    store = open_study(
        storage, job, checked.fingerprint, checked.default, config=config, modules=checked.modules
    )
    assert store.lease
    store.lease.give_back()


def forget(folder: Path) -> None:
    """Makes this process one on a machine that has never had the folder."""
    shutil.rmtree(folder)
    sys.path.remove(str(folder))
    for name in ("kept_module", "kept_module_helper"):
        del sys.modules[name]
