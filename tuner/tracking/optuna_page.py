"""Serves optuna-dashboard over the studies' database, on loopback and for looking alone."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import get_storage

from tuner.errors import TunerError

HOST = "127.0.0.1"
PORTS = 100
"""The number of ports that are tried."""
LOOKING = ("GET", "HEAD")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@contextmanager
def serve(storage: str, study: str | None, port: int) -> Iterator[str]:
    """Yields the page's address while it is served. Raises TunerError where optuna-dashboard is not installed.

    The page is served from this process: on its own command line the database's URL would be seen by everybody.
    """
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise TunerError("optuna-dashboard is not installed: pip install 'coc-tuner[optuna]'") from error
    database = get_storage(storage)
    server = _server(_for_looking(wsgi(database)), port)
    Thread(target=server.serve_forever, daemon=True).start()
    below = f"/studies/{database.get_study_id_from_name(study)}" if study else ""
    try:
        yield f"http://{HOST}:{server.server_port}/dashboard{below}"
    finally:
        server.shutdown()
        server.server_close()


def _for_looking(app: App) -> App:
    """Refuses every request that could change a study."""

    def call(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] in LOOKING:
            return app(environment, start)
        start("405 Method Not Allowed", [("Content-Type", "application/json"), ("Allow", ", ".join(LOOKING))])
        return [b'{"reason": "this page is for looking: only the tuner changes its studies"}']

    return call


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Says nothing of requests."""


def _server(app: App, first: int) -> WSGIServer:
    """Listens at the first port that is free."""
    for port in range(first, first + PORTS if first else 1):
        try:
            return make_server(HOST, port, app, _Server, _Quiet)
        except OSError:
            continue
    raise TunerError(f"no port from {first} to {first + PORTS - 1} is free: --port names another")
