"""Submissions to a real cluster; a stand-in in the folder that is sent takes the tuner's place."""

import os
import sys
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from unittest import mock

import psutil
import pytest

from tuner.cluster import jobs, local
from tuner.cluster.local import Cluster
from tuner.errors import StillRuns, TunerError
from tuner.files.paths import Home
from tuner.servers.ports import free_ports

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("local"),
    pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning"),  # Ray's call of aiohttp
]

STAND_IN = """
import os, sys, time
from pathlib import Path
print("arguments:", sys.argv[1:])
print("job:", Path("job.yaml").read_text())
print("variable:", os.environ.get("VARIABLE"))
print("python:", sys.executable)
if "fail" in sys.argv:
    sys.exit("could not go on")
if "stay" in sys.argv:
    print("pid:", os.getpid(), flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def cluster(own_cluster: Home) -> Iterator[Cluster]:
    cluster = local.running(own_cluster)
    assert cluster
    with mock.patch.dict(os.environ):
        local.use(cluster)
        yield cluster


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tuner").mkdir()
    (
        tmp_path / "tuner" / "__init__.py"
    ).touch()  # a package of that name elsewhere would come before a mere folder
    (tmp_path / "tuner" / "__main__.py").write_text(STAND_IN)
    (tmp_path / "job.yaml").write_text("name: small")
    return tmp_path


def test_a_submission_runs_to_its_end(cluster: Cluster, folder: Path) -> None:
    address = cluster.jobs_address
    assert jobs.submit(address, "small", folder, ["run", "a; b"], {"VARIABLE": "x"}) == "small-1"
    text = "".join(jobs.follow(address, "small"))
    assert f"arguments: ['run', 'a; b']\njob: name: small\nvariable: x\npython: {sys.executable}\n" in text
    assert jobs.wait(address, "small") == "succeeded"
    assert "".join(jobs.follow(address, "small")) == text
    assert jobs.submit(address, "small", folder, ["run"], {}) == "small-2"
    assert jobs.wait(address, "small") == "succeeded"
    assert "arguments: ['run']\n" in "".join(jobs.follow(address, "small"))


def test_a_failure_is_told(cluster: Cluster, folder: Path) -> None:
    jobs.submit(cluster.jobs_address, "broken", folder, ["fail"], {})
    assert jobs.wait(cluster.jobs_address, "broken") == "failed"
    assert "could not go on" in "".join(jobs.follow(cluster.jobs_address, "broken"))


def test_one_at_a_time_until_it_is_stopped(cluster: Cluster, folder: Path) -> None:
    address = cluster.jobs_address
    jobs.submit(address, "long", folder, ["stay"], {})
    driver = next(_pids(jobs.follow(address, "long")))
    with pytest.raises(
        StillRuns, match=rf"long-1, which {getuser()}@.* sent, still runs.*tuner stop long.*another name"
    ):
        jobs.submit(address, "long", folder, ["stay"], {})
    assert psutil.pid_exists(driver)
    assert jobs.stop(address, "long") == "stopped"
    assert not psutil.pid_exists(driver)
    assert jobs.stop(address, "long") == "stopped"
    assert jobs.submit(address, "long", folder, [], {}) == "long-2"
    assert jobs.wait(address, "long") == "succeeded"


def test_an_unknown_study_is_told(cluster: Cluster) -> None:
    for act in (jobs.stop, jobs.wait, lambda *words: list(jobs.follow(*words))):
        with pytest.raises(TunerError, match=r"no study lost.*tuner submit"):
            act(cluster.jobs_address, "lost")


def test_without_the_token_nothing_is_done(
    cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    with pytest.raises(TunerError, match=r"refuses the token: name the file"):
        jobs.submit(cluster.jobs_address, "small", folder, [], {})
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    with pytest.raises(TunerError, match=r"refuses the token: name the file"):
        jobs.stop(cluster.jobs_address, "small")


def test_an_address_without_a_cluster_is_told() -> None:
    [port] = free_ports(0)
    with pytest.raises(TunerError, match=r"no Ray cluster answers at .*tuner up"):
        jobs.wait(f"http://127.0.0.1:{port}", "small")
    with pytest.raises(TunerError, match=r"http://host:8265, got 127.0.0.1:6379"):
        jobs.wait("127.0.0.1:6379", "small")


def _pids(pieces: Iterator[str]) -> Iterator[int]:
    for piece in pieces:
        for line in piece.splitlines():
            if line.startswith("pid: "):
                yield int(line.removeprefix("pid: "))
