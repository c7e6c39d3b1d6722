"""What the tests share: a job on the synthetic trainer, homes, the real images beside the checkout."""

import gc
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
from tests import databases, warm
from tests.conformance.base import draw
from tests.object_store import ObjectStore, serving
from tests.ray_head import TOKEN, ray_head
from tuner.cli import main
from tuner.files.paths import Home
from tuner.files.urls import UrlPath

ROOT = Path(__file__).parent.parent
IMAGES = ROOT.parent / "shared" / "data"
BUSY = {"RAY_worker_niceness": "0", "RAY_memory_monitor_refresh_ms": "0"}
"""Ray's workers are as important as other tests: they do not wait for those, nor die for the memory that those take."""
os.environ |= BUSY
os.environ.setdefault(
    "RAY_AUTH_MODE", "token"
)  # Ray reads it once, while it is imported; spawned tests have their own

JOB: dict[str, Any] = {
    "name": "syn",
    "config": str(ROOT / "configs" / "synthetic.py"),
    "data_root": str(ROOT),
    "space": str(ROOT / "tests" / "space.yaml"),
    "budget": {"trials": 12},
    "fidelity": {"iterations": 480, "rungs": [60, 160, 480]},
    "resources": {"gpus_per_trial": 0, "ranks": 1, "global_batch": 8, "concurrent": 1},
}

JobFile = Callable[..., Path]
Tuner = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure(config: pytest.Config) -> None:
    """Lets Ray make its token before tests start clusters beside each other, since each would make one.

    The collector of garbage rests until all is loaded, and never looks at that: it took a tenth of the time.
    """
    gc.disable()
    if not hasattr(config, "workerinput") and not TOKEN.exists():
        command = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use an object store or the shared Ray: they are servers too."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if {"object_store", "ray_address"}.intersection(fixtures):
            item.add_marker(pytest.mark.cluster)
        if "ray_address" in fixtures:
            item.add_marker(pytest.mark.xdist_group("ray"))
    items.sort(key=_place_in_queue)


def _place_in_queue(item: pytest.Item) -> int:
    """What takes long starts first, so that no worker is left alone with it at the end."""
    groups = {mark.args[0] for mark in item.iter_markers("xdist_group")}
    marks = {mark.name for mark in item.iter_markers()}
    return 0 if "usual ports" in groups else 1 if "cluster" in marks else 2 if "long" in marks else 3


def pytest_collection_finish() -> None:
    import hypothesis  # noqa: F401 - once it is imported, it asks the collector, which does not know what is frozen

    gc.freeze()
    gc.enable()


@pytest.fixture
def job_file(tmp_path: Path) -> JobFile:
    """Writes a job: the synthetic one, with some keys replaced; without repeats, unless asked for."""

    def write(**changes: Any) -> Path:
        file = tmp_path / f"{changes.get('name', 'job').replace('/', '_')}.yaml"
        job = JOB | changes
        job["budget"] = {"seeds": 1} | job["budget"]
        job["search"] = {"scheduler": "asha"} | job.get("search", {})
        job["fidelity"] = {"prune_by": "metric"} | job["fidelity"]
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
        done = warm.call(["--home", str(home), *map(str, arguments)], clean_environment() | environment)
        assert done.returncode == code, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture
def tuner_inside(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tuner:
    """The command line, in this process, which has loaded its libraries already."""

    def call(*arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["tuner", "--home", str(home), *map(str, arguments)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", command)
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == code, f"{command}\n{out}\n{err}"
        return subprocess.CompletedProcess(command, code, out, err)

    return call


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """The address of a Ray that many tests use, for RAY_ADDRESS."""
    with ray_head() as address:
        yield address


@pytest.fixture(scope="module")
def block_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images of coloured blocks with their labels, drawn for a module."""
    folder = tmp_path_factory.mktemp("images")
    draw(folder)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL of the tests' own; its URL."""
    if databases.POSTGRES is None:
        pytest.skip("needs PostgreSQL: Debian's package postgresql")
    with databases.postgres_server() as server:
        yield server


POSTGRESQL = pytest.param("postgresql", marks=[pytest.mark.cluster, pytest.mark.xdist_group("postgresql")])


@pytest.fixture(params=["sqlite", POSTGRESQL])
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


@pytest.fixture(params=["in it", pytest.param("at a URL", marks=pytest.mark.cluster)])
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
def images() -> Callable[[str], Path]:
    """The folder of a real data set; skips where it is absent."""

    def folder(name: str) -> Path:
        if not (IMAGES / name).is_dir():
            pytest.skip(f"needs the real images of {name} beside the checkout")
        return IMAGES / name

    return folder


def clean_environment() -> dict[str, str]:
    """Without addresses of a cluster that somebody uses, or a `make` around it; COLUMNS keeps tables whole."""
    drop = ("RAY_", "MLFLOW_", "TUNER_", "MAKE", "MFLAGS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(drop)}
    return kept | BUSY | {"COLUMNS": "120", "NO_COLOR": "1"}


@pytest.fixture(autouse=True)
def _no_foreign_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "TUNER_HOME", "TUNER_STORAGE", "TUNER_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
