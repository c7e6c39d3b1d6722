"""Clusters that several files test: one's own, as `tuner up` starts it, and a lab's, as docker/compose.yaml does."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.composition import NODES, Composition
from tests.object_store import ObjectStore
from tuner.cluster import local
from tuner.files.paths import Home
from tuner.servers.ports import LOOPBACK, free_ports
from tuner.servers.processes import Server


@pytest.fixture(scope="session")
def own_cluster(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> Iterator[Home]:
    """Its home; it is up though MLflow's port was taken between the look for free ones and the first start.

    Its processes know the object store's credentials.
    """
    home = Home(tmp_path_factory.mktemp("a rather long folder for a home, as a person may have it"))
    ray_head = local._ray_head  # noqa: SLF001
    stand_in = Server(("-c", "import time; time.sleep(600)"), home.cluster / "ray.log", checks=())
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.MonkeyPatch.context() as patch:
        gcs, dashboard, *others = free_ports(0, 0, 0, 0)
        looks, heads = iter([[gcs, dashboard, taken.getsockname()[1], *others]]), iter([stand_in])
        patch.setattr(local, "free_ports", lambda *usual: next(looks, None) or free_ports(*usual))
        patch.setattr(local, "_ray_head", lambda *places: next(heads, None) or ray_head(*places))
        local.up(home)
    yield home
    local.down(home)


@pytest.fixture(scope="session")
def composition() -> Iterator[Composition]:
    """PostgreSQL, MLflow, a head and two nodes with addresses of their own, a CPU each; the first has a GPU by name."""
    # Not in pytest's folder, which PostgreSQL's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="compose-"))
    folder.chmod(0o755)
    composition = Composition.read(folder)
    try:
        composition.start_postgres()
        node = ("--num-cpus=1", "--object-store-memory=100000000")
        ports = ("--min-worker-port=0", "--max-worker-port=0")
        client, agent = free_ports(0, 0)
        own = (f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}")
        with ThreadPoolExecutor() as pool:
            mlflow = pool.submit(composition.start, "mlflow")
            composition.start("head", *node, *ports, *own, f"--temp-dir={folder / 'head'}")
            for number, name in enumerate(NODES):
                gpus = f"--num-gpus={int(number == 0)}"
                composition.start_node(name, f"127.0.0.{number + 2}", *node, *ports, gpus)
            mlflow.result()
        yield composition
    finally:
        composition.end()
        shutil.rmtree(folder)
