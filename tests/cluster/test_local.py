"""A real `up` and `down`."""

import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
from mlflow import MlflowClient

from tests.left_over import listening, processes_of
from tuner.cluster import local
from tuner.cluster.local import Cluster
from tuner.errors import TunerError
from tuner.files.paths import Home
from tuner.servers.ports import LOOPBACK
from tuner.servers.processes import Server, marked

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("local")]

COUNT_NODES = """
import sys
from pathlib import Path
from tuner.cluster import local
from tuner.files.paths import Home
cluster = local.running(Home(Path(sys.argv[1])))
local.use(cluster)
import ray
ray.init(cluster.ray_address, log_to_driver=False)
print(len(ray.nodes()))
"""


@pytest.fixture
def home(own_cluster: Home) -> Home:
    return own_cluster


@pytest.fixture
def cluster(home: Home) -> Cluster:
    cluster = local.running(home)
    assert cluster
    return cluster


def processes(home: Home) -> set[psutil.Process]:
    return marked(str(home.cluster))


def test_up_again_answers_with_what_is_up(home: Home, cluster: Cluster) -> None:
    servers = {psutil.Process(pid) for pid in cluster.pids}  # jobs of earlier tests may just be ending
    assert local.up(home) == cluster
    assert servers <= processes(home)


def test_ray_answers_to_the_token_alone(cluster: Cluster) -> None:
    def ask(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{cluster.jobs_address}/api/jobs/", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return int(response.status)
        except HTTPError as refusal:
            refusal.close()
            return refusal.code

    assert ask(cluster.token.read_text()) == 200
    assert ask("") == 401
    assert ask("f" * 64) == 403
    assert stat.S_IMODE(cluster.token.stat().st_mode) == 0o600


def test_a_process_that_uses_it_may_run_code(home: Home, cluster: Cluster) -> None:
    command = [sys.executable, "-c", COUNT_NODES, str(home.root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_runs_read_alike_with_and_without_the_server(home: Home, cluster: Cluster) -> None:
    clients = MlflowClient(cluster.tracking_uri), MlflowClient(home.tracking)
    experiments = [
        clients[0].create_experiment("served"),
        clients[1].create_experiment("direct", home.artifacts.as_uri()),
    ]
    for experiment in experiments:
        for writer in clients:
            run = writer.create_run(experiment).info.run_id
            writer.log_text(run, "lr = 1", "config.py")
            for reader in clients:
                assert [file.path for file in reader.list_artifacts(run)] == ["config.py"]
            page = f"{cluster.tracking_uri}/get-artifact?run_uuid={run}&path=config.py"
            with urllib.request.urlopen(page, timeout=20) as response:
                assert response.read() == b"lr = 1"


def test_listens_on_loopback_alone(home: Home) -> None:
    addresses = listening(processes(home))
    assert len(addresses) >= 4
    assert set(addresses) == {LOOPBACK}


def test_half_a_cluster_is_not_up(home: Home, cluster: Cluster) -> None:
    server = psutil.Process(cluster.pids[1])
    server.terminate()
    server.wait(timeout=30)
    assert local.running(home) is None
    with pytest.raises(TunerError, match="end them with `tuner down`"):
        local.up(home)


def test_down_leaves_nothing_and_may_be_repeated(home: Home) -> None:
    scratch = (home.cluster / "ray").readlink().parent
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    local.down(home)
    assert not processes(home)
    assert not processes_of(home.root), "of a study"
    assert not scratch.exists()
    assert sorted(file.name for file in home.cluster.iterdir()) == ["mlflow.log", "ray.log"]
    local.down(home)
    assert local.running(home) is None


def test_what_does_not_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    broken = Server(("-c", "raise SystemExit('no port is free')"), tmp_path / "ray.log", ((1, "/"),))
    monkeypatch.setattr(local, "USUAL_PORTS", local.ANY_PORTS)
    monkeypatch.setattr(local, "_ray_head", lambda home, ports: broken)
    with pytest.raises(TunerError, match="no port is free"):
        local.up(home)
    assert not processes(home)
    assert local.running(home) is None
    assert not (home.cluster / "up.json").exists()
