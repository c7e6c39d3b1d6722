"""What the tests share: a job on the synthetic trainer, homes, the real pictures beside the checkout."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import tuner.models  # mmseg cannot be imported before it
from tests import databases
from tests.object_store import ObjectStore, serving
from tuner.paths import Home
from tuner.urls import UrlPath

ROOT = Path(__file__).parent.parent
PICTURES = ROOT.parent / "shared" / "data"

JOB: dict[str, Any] = {
    "name": "syn",
    "config": str(ROOT / "configs" / "synthetic.py"),
    "data_root": str(ROOT),
    "space": str(ROOT / "search_spaces" / "pvt.yaml"),
    "budget": {"trials": 12},
    "fidelity": {"iterations": 480, "rungs": [60, 160, 480]},
    "resources": {"gpus_per_trial": 0, "ranks": 1, "global_batch": 8, "concurrent": 1},
}

JobFile = Callable[..., Path]
Tuner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def job_file(tmp_path: Path) -> JobFile:
    """Writes a job: the synthetic one, with some keys replaced; without repeats, unless asked for."""

    def write(**changes: Any) -> Path:
        file = tmp_path / f"{changes.get('name', 'job').replace('/', '_')}.yaml"
        job = JOB | changes
        job["budget"] = {"seeds": 1} | job["budget"]
        file.write_text(yaml.safe_dump(job))
        return file

    return write


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def tuner(home: Path) -> Tuner:
    """The command line, in a process of its own."""

    def call(*arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tuner", "--home", str(home), *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=500,
            env=clean_environment() | environment,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL of the tests' own; its URL."""
    if databases.POSTGRES is None:
        pytest.skip("needs PostgreSQL: Debian's package postgresql")
    with databases.postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db"
    return databases.fresh(request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """An S3 of the tests' own."""
    with serving() as store:
        yield store


@pytest.fixture
def url(object_store: ObjectStore) -> str:
    """Of an empty folder in it."""
    return object_store.fresh()


@pytest.fixture(params=["in it", "at a URL"])
def trials_home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A home whose trials lie in it, or at a URL."""
    if request.param == "in it":
        return Home(tmp_path / "home")
    return Home(tmp_path / "home", UrlPath(request.getfixturevalue("url")))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than they save where tests share their cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def pictures() -> Callable[[str], Path]:
    """The folder of a real data set; skips where it is absent."""

    def folder(name: str) -> Path:
        if not (PICTURES / name).is_dir():
            pytest.skip(f"needs the real pictures of {name} beside the checkout")
        return PICTURES / name

    return folder


def clean_environment() -> dict[str, str]:
    """Without addresses of a cluster that somebody uses; COLUMNS keeps tables whole."""
    drop = ("RAY_", "MLFLOW_", "TUNER_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(drop)}
    return kept | {"COLUMNS": "120", "NO_COLOR": "1"}


@pytest.fixture(autouse=True)
def _no_foreign_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "TUNER_HOME", "TUNER_STORAGE", "TUNER_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
