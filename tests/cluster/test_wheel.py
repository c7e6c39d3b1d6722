"""The wheel alone, installed into an environment of its own and used in an empty folder, with a module of one's own."""

import os
import site
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, clean_environment
from tests.own_code import imported_from, leaves_a_note, write_own_code
from tuner.training.data.toy import draw

pytestmark = [pytest.mark.cluster, pytest.mark.long]
Call = Callable[..., str]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The environment's commands. It sees the packages that are installed here, but no checkout of ours."""
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", tmp_path / "wheel", ROOT], check=True)
    place = tmp_path / "environment"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    own = place / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (own / "others.pth").write_text("\n".join(site.getsitepackages()))
    [wheel] = (tmp_path / "wheel").iterdir()
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps"]
    subprocess.run([*install, "--force-reinstall", wheel], check=True)
    return place / "bin"


@pytest.fixture
def environment(installed: Path) -> dict[str, str]:
    path = f"{installed}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}
    return kept | {"PATH": path, "OMP_NUM_THREADS": "1"}


def test_init_run_and_export_work_from_an_empty_folder(environment: dict[str, str], tmp_path: Path) -> None:
    empty, note = tmp_path / "empty", tmp_path / "note"
    empty.mkdir()

    def call(*words: str) -> str:
        done = subprocess.run(
            ["tuner", *words], cwd=empty, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    assert "next: tuner check demo/job.yaml" in call("init", "--example", "demo", "demo")
    assert {file.name for file in (empty / "demo").iterdir()} == {"job.yaml", "space.yaml", "config.py"}
    draw(empty / "data" / "toy", images=2, validation=1)
    write_own_code(empty / "demo", "beside_the_config")
    with (empty / "demo" / "config.py").open("a") as config:
        config.write(
            f"custom_imports['imports'].append('beside_the_config')\ncustom_hooks = [{leaves_a_note(note)}]\n"
        )
    short = [
        "--no-build",
        "--set",
        "budget.trials=1",
        "--set",
        "fidelity={iterations: 4}",
        "--set",
        "resources.ranks=1",
    ]
    assert "default 0" in call("run", "demo/job.yaml", *short)
    assert imported_from(note).parent.name.startswith("tuner-modules-"), "a node's own folder"
    call("export", "demo", "--to", "best", "--verify", "none")
    assert (empty / "best" / "checkpoint.pth").is_file()
    assert (empty / "best" / "standalone" / "beside_the_config.py").is_file()
    where = subprocess.run(
        ["python", "-c", "import tuner; print(tuner.__file__)"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path) in where.stdout
