"""A Ray on this machine that the studies of many tests use one after the other, since each takes seconds to start."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.left_over import kill_all
from tuner.servers.ports import free_ports
from tuner.servers.processes import Server, spawn, wait_for

TOKEN = Path.home() / ".ray" / "auth_token"


@contextmanager
def ray_head() -> Iterator[str]:
    """The address of its head, which has two CPUs and no GPU."""
    from ray.util import get_node_ip_address

    gcs, client, agent = free_ports(0, 0, 0)
    with TemporaryDirectory(
        prefix="ray-", ignore_cleanup_errors=True
    ) as folder:  # short, as sockets' paths must be
        options = {
            "port": gcs,
            "ray-client-server-port": client,
            "dashboard-agent-listen-port": agent,
            "include-dashboard": "false",
            "num-cpus": 2,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "temp-dir": folder,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        head = Server(
            ("-m", "ray.scripts.scripts", "start", "--head", "--block", *words),
            Path(folder, "ray.log"),
            checks=((agent, "/api/local_raylet_healthz"),),
        )
        try:
            wait_for(head, spawn(head, folder, dict(os.environ)), TOKEN.read_text())
            yield f"{get_node_ip_address()}:{gcs}"
        finally:
            kill_all(folder)  # it has nothing to end in good order, which takes it seconds
