"""The services of docker/compose.yaml work together."""

import json
import subprocess
import sys
import urllib.request
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.error import HTTPError

import psutil
import pytest
from mlflow import MlflowClient

from tests.cluster.composition import HOST, POSTGRES, SECRETS, Composition
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


def count_nodes(composition: Composition, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COUNT_NODES, f"{HOST}:{composition.ports[6379]}"]
    environment = composition.environment("head") | changes
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def read(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as response:
        return str(response.read().decode())


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as response:
            return int(response.status)
    except HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_workers_join_the_head(composition: Composition) -> None:
    done = count_nodes(composition)
    assert done.stdout == "3 1.0\n", done.stderr


def test_ray_refuses_who_has_no_token(composition: Composition) -> None:
    jobs = composition.url(8265) + "/api/jobs/"
    assert status(jobs) == 401
    assert status(jobs, Authorization="Bearer " + "e" * 64) == 403
    assert status(jobs, Authorization="Bearer " + "f" * 64) == 200
    done = count_nodes(composition, RAY_AUTH_TOKEN="e" * 64, RAY_NUM_REDIS_GET_RETRIES="1")
    assert done.returncode != 0
    assert not done.stdout


def test_mlflow_answers_to_its_own_names_and_who_has_its_log_in(composition: Composition) -> None:
    page = composition.url(5000) + "/api/2.0/mlflow/experiments/get?experiment_id=0"
    mlflow, localhost = (f"{name}:{composition.ports[5000]}" for name in ("mlflow", "localhost"))
    own = "Basic " + b64encode(f"admin:{SECRETS['MLFLOW_PASSWORD']}".encode()).decode()
    assert status(page, Host=mlflow, Authorization=own) == 200
    assert status(page, Host=localhost, Authorization=own) == 200
    assert status(page, Host="elsewhere.example", Authorization=own) == 403
    assert status(page, Host=mlflow) == 401
    assert (
        status(page, Host=mlflow, Authorization="Basic " + b64encode(b"admin:password1234").decode()) == 401
    )


def test_a_job_is_kept_in_postgresql_shown_by_mlflow_and_the_secrets_nowhere(
    composition: Composition, tuner: Tuner, job_file: JobFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = composition.environment("head")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, environment[name])
    del environment["TUNER_HOME"]
    job = job_file(name="composed", budget={"trials": 3})
    with ThreadPoolExecutor() as pool:
        submission = pool.submit(
            tuner, "submit", job, "--address", composition.url(8265), "--wait", **environment
        )
        shown = command_lines()
        while wait([submission], timeout=1).not_done:
            shown |= command_lines()
    done = submission.result()
    assert "submitted: composed-1" in done.stdout

    trials = json.loads(tuner("status", "composed", "--json", **environment).stdout)["trials"]
    assert len(trials) == 3
    client = MlflowClient(composition.url(5000))
    experiment = client.get_experiment_by_name("composed")
    runs = client.search_runs([experiment.experiment_id], "tags.`tuner.trial` = '0'")
    assert [file.path for file in client.list_artifacts(runs[0].info.run_id)] == ["config.py"]
    assert (composition.folder / "artifacts" / experiment.experiment_id).is_dir()

    elsewhere = environment["TUNER_STORAGE"].replace(str(composition.ports[5432]), str(free_ports(0)[0]))
    error = tuner("status", "composed", code=1, **environment | {"TUNER_STORAGE": elsewhere}).stderr
    assert "the studies' database does not answer" in error
    jobs = read(composition.url(8265) + "/api/jobs/", Authorization="Bearer " + SECRETS["RAY_AUTH_TOKEN"])
    texts = {"answers": done.stdout + done.stderr + error, "Ray's dashboard": jobs, "ps": "\n".join(shown)}
    texts |= {name: dumped(composition, name) for name in ("studies", "mlflow")} | logs(composition)
    assert "gcs_server" in texts["ps"]
    assert {"mlflow", "head.log"} <= texts.keys()
    shows = [(secret, place) for secret, word in SECRETS.items() for place in texts if word in texts[place]]
    assert shows == []


def command_lines() -> set[str]:
    """As `ps` shows them to everybody."""
    return {" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}


def dumped(composition: Composition, database: str) -> str:
    """All that a database holds."""
    command = ["pg_dump", "--username=tuner", database]
    return subprocess.check_output(command, env=composition.environment("postgres"), text=True)


def logs(composition: Composition) -> dict[str, str]:
    """All files of the services, Ray's own included, but PostgreSQL's and the one that the password is read from."""
    files = [file for file in composition.folder.rglob("*") if file.is_file() and not file.is_symlink()]
    own = {composition.folder / "postgres", composition.folder / "password"}
    return {
        str(file.relative_to(composition.folder)): file.read_text(errors="replace")
        for file in files
        if not own & {file, *file.parents}
    }
