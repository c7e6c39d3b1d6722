"""The services of docker/compose.yaml work together."""

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from mlflow import MlflowClient

from tests.cluster.composition import HOST, POSTGRES, Composition
from tests.conftest import JobFile, Tuner
from tuner.servers.ports import free_ports

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("compose"),
    pytest.mark.skipif(POSTGRES is None, reason="needs PostgreSQL, as Debian's package has it"),
]

COUNT_NODES = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()), ray.cluster_resources()["GPU"])
"""


@pytest.fixture(scope="module")
def composition() -> Iterator[Composition]:
    # Not in pytest's folder, which PostgreSQL's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="compose-"))
    folder.chmod(0o755)
    composition = Composition.read(folder)
    try:
        composition.start_postgres()
        composition.start("mlflow")
        client, agent = free_ports(0, 0)
        one_of_two = ["--min-worker-port=0", "--max-worker-port=0", "--num-cpus=1"]
        ports = [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
        composition.start("head", *one_of_two, f"--temp-dir={folder / 'head'}", *ports)
        composition.start("worker", *one_of_two, f"--temp-dir={folder / 'worker'}", "--num-gpus=1")
        yield composition
    finally:
        composition.end()
        shutil.rmtree(folder)


def count_nodes(composition: Composition, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COUNT_NODES, f"{HOST}:{composition.ports[6379]}"]
    environment = composition.environment("head") | changes
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as response:
            return int(response.status)
    except HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_the_worker_joins_the_head(composition: Composition) -> None:
    done = count_nodes(composition)
    assert done.stdout == "2 1.0\n", done.stderr


def test_ray_refuses_who_has_no_token(composition: Composition) -> None:
    jobs = composition.url(8265) + "/api/jobs/"
    assert status(jobs) == 401
    assert status(jobs, Authorization="Bearer " + "e" * 64) == 403
    assert status(jobs, Authorization="Bearer " + "f" * 64) == 200
    done = count_nodes(composition, RAY_AUTH_TOKEN="e" * 64)
    assert done.returncode != 0
    assert not done.stdout


def test_mlflow_answers_to_its_own_names_alone(composition: Composition) -> None:
    page = composition.url(5000) + "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert status(page, Host=f"mlflow:{composition.ports[5000]}") == 200
    assert status(page, Host=f"localhost:{composition.ports[5000]}") == 200
    assert status(page, Host="elsewhere.example") == 403


def test_a_job_is_kept_in_postgresql_and_shown_by_mlflow(
    composition: Composition, tuner: Tuner, job_file: JobFile
) -> None:
    environment = composition.environment("head")
    del environment["TUNER_HOME"]
    job = job_file(name="composed", budget={"trials": 3})
    done = tuner("submit", job, "--address", composition.url(8265), "--wait", **environment)
    assert "submitted: composed-1" in done.stdout

    trials = json.loads(tuner("status", "composed", "--json", **environment).stdout)["trials"]
    assert len(trials) == 3
    client = MlflowClient(composition.url(5000))
    experiment = client.get_experiment_by_name("composed")
    runs = client.search_runs([experiment.experiment_id], "tags.`tuner.trial` = '0'")
    assert [file.path for file in client.list_artifacts(runs[0].info.run_id)] == ["config.py"]
    assert (composition.folder / "artifacts" / experiment.experiment_id).is_dir()
