"""docker/compose.yaml as plain processes of this machine: other ports and folders, the same commands."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import psutil
import yaml

from tests.conftest import ROOT, clean_environment
from tests.left_over import kill_all
from tuner.servers.ports import free_ports
from tuner.servers.processes import MARK, marked

HOST = "127.0.0.1"
NODES = ("left", "right")
"""The nodes besides the head."""
USUAL_PORTS = (5432, 5000, 6379, 8265, 52365)
SECRETS = {
    "POSTGRES_PASSWORD": "letters1",
    "RAY_AUTH_TOKEN": "f" * 64,
    "MLFLOW_PASSWORD": "letters2letters2",
    "MLFLOW_SECRET_KEY": "letters3letters3",
}
SOONER = {"RAY_raylet_liveness_self_check_interval_ms": "500"}
"""Has a node hear within a second that its head was killed and is another now; in containers within ten."""
POSTGRES = next(Path("/usr/lib/postgresql").glob("*/bin"), None)
"""PostgreSQL's programs, as Debian's package has them."""


@dataclass
class Composition:
    folder: Path
    """What the containers have as /srv/tuner."""
    ports: dict[int, int]
    services: dict[str, Any]
    configs: dict[str, Any]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    restarts: Counter[str] = field(default_factory=Counter)
    _keepers: list[Thread] = field(default_factory=list)
    _is_over: bool = False
    _starting: Lock = field(default_factory=Lock)

    @classmethod
    def read(cls, folder: Path) -> "Composition":
        ports = dict(zip(USUAL_PORTS, free_ports(*[0] * len(USUAL_PORTS)), strict=True))
        usual = "|".join(map(str, USUAL_PORTS))
        text = (ROOT / "docker" / "compose.yaml").read_text()
        text = re.sub(r"\$\{(\w+):\?[^}]*}", lambda match: (SECRETS | {"DATA": "/data"})[match[1]], text)
        text = text.replace("--workers=2", "--workers=1")  # a test's few requests need no second
        text = re.sub(rf"\b({usual})\b", lambda match: str(ports[int(match[1])]), text)
        text = re.sub(r"(?<=//)mlflow(?=:)|(?<=@)postgres(?=:)|(?<==)head(?=:)|0\.0\.0\.0", HOST, text)
        text = re.sub(r"/srv/tuner|/etc(?=/mlflow.ini)", str(folder), text)
        read = yaml.safe_load(text)
        return cls(folder, ports, read["services"], read["configs"])

    def url(self, usual_port: int) -> str:
        return f"http://{HOST}:{self.ports[usual_port]}"

    def environment(self, service: str) -> dict[str, str]:
        of_the_image = {
            "PATH": f"{Path(sys.executable).parent}:{POSTGRES}:{os.environ['PATH']}",
            "PGHOST": HOST,
            "PGPORT": str(self.ports[5432]),
            "PGPASSWORD": SECRETS["POSTGRES_PASSWORD"],
        }
        mark = {MARK: self._mark(service), "SPT_NOENV": "1", **SOONER}
        of_the_service: dict[str, str] = self.services[service]["environment"]
        return clean_environment() | of_the_image | mark | of_the_service

    def start(self, service: str, *own: str) -> None:
        """Returns when the service is healthy. `own` are options that it needs for want of a container."""
        told = self.services[service]
        told["command"] = [*map(str, told["command"]), *own]
        for config in told.get("configs", []):
            Path(config["target"]).write_text(self.configs[config["source"]]["content"])
        self._spawn(service)
        self.wait_for(service)

    def wait_for(self, service: str) -> None:
        """Returns when the service is healthy."""
        check = self.services[service]["healthcheck"]["test"][1:]
        environment, log = self.environment(service), self.folder / f"{service}.log"
        end = time.monotonic() + 180
        while subprocess.run(check, env=environment, capture_output=True, check=False).returncode:
            assert self.restarts[service] or self.processes[service].poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(1)  # the check itself is a process that takes a while

    def keep(self, service: str) -> None:
        """Starts the service again whenever it has ended, as `restart: unless-stopped` has it."""
        keeper = Thread(target=self._keep, args=(service,), name=f"keeper of {service}")
        self._keepers.append(keeper)
        keeper.start()

    def start_postgres(self) -> None:
        """As the image's entry point does: a user with a password, a database and our script."""
        data = self.folder / "postgres"
        data.mkdir()
        as_user = []
        if os.getuid() == 0:  # as which PostgreSQL refuses to run
            shutil.chown(data, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        password = self.folder / "password"
        password.write_text(SECRETS["POSTGRES_PASSWORD"])
        initdb = [
            "initdb",
            "-D",
            str(data),
            "--username=tuner",
            "--auth=scram-sha-256",
            "--no-sync",
            f"--pwfile={password}",
        ]
        self._call("postgres", [*as_user, *initdb])
        killed = [
            "-c",
            "fsync=off",
            "-c",
            "dynamic_shared_memory_type=mmap",
        ]  # killed, it leaves no files elsewhere
        options = ["-D", data, "-k", data, "-h", HOST, *killed]
        self.services["postgres"]["command"] = [*as_user, "postgres", *options]
        self.start("postgres")
        self._call("postgres", ["createdb", "--username=tuner", "studies"])
        self._call("postgres", [str(ROOT / "docker" / "databases.sh")])

    def start_node(self, name: str, address: str, *own: str) -> None:
        """A node like `worker`, under another name, on ports of its own, and at an address 127.….

        It calls the head by that address too: by the head's, `ray start` finds a node that is left of a killed head,
        and refuses to start another head there.
        """
        usual, port = str(self.ports[52365]), str(free_ports(0)[0])
        text = json.dumps(self.services["worker"]).replace(
            f"{HOST}:{self.ports[6379]}", f"{address}:{self.ports[6379]}"
        )
        self.services[name] = json.loads(text.replace(usual, port))
        self.start(name, f"--node-ip-address={address}", f"--temp-dir={self.folder / name}", *own)

    def family(self, service: str) -> set[psutil.Process]:
        """The service's processes, and all that they have started."""
        return marked(self._mark(service))

    def kill(self, service: str) -> None:
        """Leaves none, as the end of a container does, before it may start again."""
        with self._starting:
            kill_all(self._mark(service))

    def end(self) -> None:
        with self._starting:
            self._is_over = True
        for service in self.processes:
            self.kill(service)
        for keeper in self._keepers:
            keeper.join()
        for process in self.processes.values():
            process.wait()

    def _mark(self, service: str) -> str:
        return f"{self.folder}/{service}"

    def _keep(self, service: str) -> None:
        while True:
            self.processes[service].wait()
            with self._starting:
                if self._is_over:
                    return
                self.restarts[service] += 1
                self._spawn(service)

    def _spawn(self, service: str) -> None:
        with (self.folder / f"{service}.log").open("ab") as out:
            self.processes[service] = subprocess.Popen(
                self.services[service]["command"],
                env=self.environment(service),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _call(self, service: str, command: list[str]) -> None:
        environment = self.environment(service)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
