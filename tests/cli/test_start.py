"""What is wrong with a job's files is told before the libraries are loaded that take seconds."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, JobFile, clean_environment
from tuner.app import check_file
from tuner.errors import BadInput
from tuner.files.paths import Home
from tuner.settings import Settings
from tuner.training.data import toy

LIBRARIES = "torch torchvision cv2 scipy pyarrow mmcv mmseg optuna sqlalchemy ray mlflow"
READER = {"torch", "cv2", "mmcv"}
"""The libraries that mmcv's reader of configs loads."""
DATABASE = {"optuna", "sqlalchemy"}
"""The libraries that read earlier studies."""
CALLS = f"""
import sys
from tuner.cli import main
for arguments in sys.argv[1].splitlines():
    sys.argv = ["tuner", *arguments.split()]
    try:
        main()
    except SystemExit as ended:
        print("ended with", ended.code)
print("loaded:", *(name for name in {LIBRARIES.split()} if name in sys.modules))
"""


def loaded(home: Path, *commands: str, code: int = 2) -> set[str]:
    """Runs commands in one process; the libraries that are loaded at its end."""
    called = "\n".join(f"--home {home} {command}" for command in commands)
    done = subprocess.run(
        [sys.executable, "-c", CALLS, called],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment(),
        check=False,
    )
    assert done.stdout.count(f"ended with {code}") == len(commands), done.stdout + done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_a_wrong_yaml_is_told_before_any_library_is_loaded(job_file: JobFile, home: Path) -> None:
    wrong = job_file(sampler="tpe")
    commands = [f"{name} {wrong}" for name in ("check", "plan", "run", "submit")]
    commands.append(f"record {wrong} --to {home}/curves.jsonl")
    commands.append(f"simulate {wrong} --curves {ROOT}/configs/curves/camvid_pvt.jsonl")
    assert loaded(home, *commands) == set()
    assert not home.exists()


def test_a_space_that_does_not_fit_the_config_is_told_before_mmseg_is_loaded(
    job_file: JobFile, home: Path
) -> None:
    config = str(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    wrong = job_file(config=config, space=str(ROOT / "search_spaces/pvt.yaml"), fidelity={"iterations": 1000})
    assert loaded(home, *(f"{name} {wrong}" for name in ("check", "run", "submit"))) == READER


def test_a_plan_loads_the_readers_of_configs_and_studies_alone(home: Path) -> None:
    plan = f"plan {ROOT}/configs/jobs/ade20k_small.yaml --data-root {ROOT}"
    assert loaded(home, plan, code=0) == READER | DATABASE


def test_an_annotation_that_changes_between_two_checks_is_told(job_file: JobFile, tmp_path: Path) -> None:
    toy.draw(tmp_path / "toys", images=3, validation=1)
    config = str(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    job = job_file(config=config, data_root=str(tmp_path / "toys"), fidelity={"iterations": 90})
    settings = Settings.from_environment(tmp_path / "home", None)
    check_file(job, {}, settings)
    assert Home(tmp_path / "home").annotations.is_file()
    changed = tmp_path / "toys" / "annotations" / "training" / "0001.png"
    cv2.imwrite(str(changed), np.full((96, 128), 9, np.uint8))
    with pytest.raises(BadInput, match=r"0001.png has 9, outside 0 … 8 and 255"):
        check_file(job, {}, settings)
