"""The databases that a study may lie in: SQLite, and a PostgreSQL of the tests' own on loopback."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, text

from tuner.servers.ports import free_ports

HOST = "127.0.0.1"
POSTGRES = next(Path("/usr/lib/postgresql").glob("*/bin"), None)
"""PostgreSQL's programs, as Debian's package has them."""
NUMBERS = count()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of its first database; `fresh` makes more."""
    with TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        yield from _serving(Path(folder))


def _serving(folder: Path) -> Iterator[str]:
    (port,) = free_ports(0)
    as_user = []
    if os.getuid() == 0:  # as which PostgreSQL refuses to run
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    assert POSTGRES

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(POSTGRES / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stderr

    call("initdb", "-D", str(data), "--username=tuner", "--auth=trust", "--no-sync")
    options = f"-p {port} -h {HOST} -k {folder} -c fsync=off"
    call("pg_ctl", "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+psycopg://tuner@{HOST}:{port}/postgres"
    finally:
        call("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


def fresh(server: str) -> str:
    """The URL of a new, empty database."""
    name = f"studies{next(NUMBERS)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres", f"/{name}")
