"""Starts and ends a Ray head and an MLflow server for one person, on loopback alone: `tuner up`, `tuner down`."""

import os
import secrets
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from tuner.cluster.undocumented import SEVERAL_NODES
from tuner.errors import TunerError
from tuner.files.paths import Home
from tuner.files.writing import replacing
from tuner.servers.ports import LOOPBACK, free_ports
from tuner.servers.processes import Server, end_all, has_mark, marked, spawn, wait_for

OF_ANOTHER_CLUSTER = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN")
USUAL_PORTS = (0, 8265, 5000, 0, 0)
"""The ports that people type: of Ray's dashboard and of MLflow. Any is as good for the other servers."""
ANY_PORTS = (0,) * len(USUAL_PORTS)


@dataclass(frozen=True)
class Cluster:
    """Says what `up` started."""

    ray_address: str
    """The Ray head's, for `ray.init`: host:port."""
    jobs_address: str
    """The Jobs API's and Ray's dashboard's: http://host:port."""
    tracking_uri: str
    """The MLflow server's: http://host:port."""
    token: Path
    """The file with Ray's token."""
    pids: tuple[int, int]
    """The Ray head's and the MLflow server's."""


def up(home: Home) -> Cluster:
    """Returns the cluster that runs already, or a new one that answers; raises TunerError with the end of its log."""
    if cluster := running(home):
        return cluster
    if marked(_mark(home)):
        raise TunerError(f"{home.cluster}: parts of a cluster are left there; end them with `tuner down`")
    down(home)
    try:
        return _start_whole(home, USUAL_PORTS)
    except TunerError as error:
        if "in use" not in str(error):
            raise
        return _start_whole(home, ANY_PORTS)  # somebody took a port between our look and the server's start


def running(home: Home) -> Cluster | None:
    """Returns what is up; None if a part of it is gone."""
    try:
        cluster = TypeAdapter(Cluster).validate_json(_note(home).read_bytes())
    except FileNotFoundError:
        return None
    return cluster if all(has_mark(pid, _mark(home)) for pid in cluster.pids) else None


def down(home: Home) -> None:
    """Ends all processes of the home's cluster, its studies' too; raises TunerError if one stays."""
    end_all(_mark(home))
    if _scratch(home).is_symlink():
        shutil.rmtree(_scratch(home).readlink().parent, ignore_errors=True)
    for file in (_scratch(home), _token(home), _note(home)):
        file.unlink(missing_ok=True)


def use(cluster: Cluster) -> None:
    """Makes Ray talk to the cluster, in this process if Ray is not imported yet, and in its children."""
    for name in OF_ANOTHER_CLUSTER:
        os.environ.pop(name, None)
    os.environ |= _ray_environment(cluster.token)


def keep_to_loopback() -> None:
    """Has a Ray that `ray.init` starts listen on loopback alone; Ray reads it once, while it is imported."""
    os.environ.setdefault(SEVERAL_NODES, "0")


def _start_whole(home: Home, ports: tuple[int, ...]) -> Cluster:
    """Starts all of it, or leaves nothing behind."""
    try:
        return _start(home, ports)
    except BaseException:
        down(home)
        raise


def _start(home: Home, ports: tuple[int, ...]) -> Cluster:
    token = _make_folder(home)
    gcs, dashboard, mlflow, agent, client = free_ports(*ports)
    servers = (_ray_head(home, (gcs, dashboard, agent, client)), _mlflow_server(home, mlflow))
    pids = [spawn(server, _mark(home), _environment(home)) for server in servers]
    for server, pid in zip(servers, pids, strict=True):
        wait_for(server, pid, token)
    cluster = Cluster(
        ray_address=f"{LOOPBACK}:{gcs}",
        jobs_address=f"http://{LOOPBACK}:{dashboard}",
        tracking_uri=f"http://{LOOPBACK}:{mlflow}",
        token=_token(home).resolve(),
        pids=(pids[0], pids[1]),
    )
    with replacing(_note(home)) as file:
        file.write_bytes(TypeAdapter(Cluster).dump_json(cluster, indent=2))
    return cluster


def _make_folder(home: Home) -> str:
    """Returns Ray's new token."""
    home.cluster.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.artifacts.mkdir(exist_ok=True)
    # Ray puts sockets there, whose paths may have 107 letters, and opens it to all: hence a folder around it.
    _scratch(home).symlink_to(Path(tempfile.mkdtemp(prefix="tuner-")) / "ray")
    token = secrets.token_hex(32)
    _token(home).touch(mode=0o600, exist_ok=False)
    _token(home).write_text(token)
    return token


def _ray_head(home: Home, ports: tuple[int, int, int, int]) -> Server:
    gcs, dashboard, agent, client = ports
    options = {
        "node-ip-address": LOOPBACK,
        "port": gcs,
        "dashboard-host": LOOPBACK,
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": agent,
        "ray-client-server-port": client,
        "min-worker-port": 0,
        "max-worker-port": 0,
        "temp-dir": _scratch(home).readlink(),
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return Server(
        arguments=("-m", "ray.scripts.scripts", "start", "--head", "--block", *words),
        log=home.cluster / "ray.log",
        checks=((dashboard, "/api/jobs/"), (agent, "/api/local_raylet_healthz")),
    )


def _mlflow_server(home: Home, port: int) -> Server:
    """Describes a server; its artifacts are plain files to its clients too, so that runs read alike without it."""
    options = {
        "host": LOOPBACK,
        "port": port,
        "workers": 1,
        "backend-store-uri": home.tracking,
        "default-artifact-root": home.artifacts.resolve().as_uri(),
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return Server(
        arguments=("-m", "mlflow", "server", "--no-serve-artifacts", *words),
        log=home.cluster / "mlflow.log",
        checks=((port, "/health"),),
    )


def _environment(home: Home) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_CLUSTER}
    path = os.environ.get("PATH", os.defpath)
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}",  # a job's `python` is this one
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nine processes that nothing here needs
        **_ray_environment(_token(home)),
    }


def _ray_environment(token: Path) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token.resolve()),
        SEVERAL_NODES: "0",
    }


def _mark(home: Home) -> str:
    return str(home.cluster.resolve())


def _note(home: Home) -> Path:
    return home.cluster / "up.json"


def _token(home: Home) -> Path:
    return home.cluster / "token"


def _scratch(home: Home) -> Path:
    """Returns a link to Ray's own files."""
    return home.cluster / "ray"
