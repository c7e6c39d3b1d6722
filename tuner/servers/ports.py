"""Finds free ports."""

import socket
from contextlib import ExitStack, suppress

LOOPBACK = "127.0.0.1"
HIGHEST = 65535


def free_ports(*usual: int, host: str = LOOPBACK) -> list[int]:
    """Returns for each the usual port or the next one that is free; for 0 any.

    An empty host asks for ports that are free on all of the machine's addresses.
    """
    found: list[int] = []
    with ExitStack() as stack:
        for port in usual:
            probe = stack.enter_context(socket.socket())
            # A server that just ended does not block its port for the next. Linux may give such a socket a port
            # that another one of the kind holds, so a port of the system's choice is asked for without it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port != 0))
            found.append(_bound(probe, host, port, found))
    return found


def _bound(probe: socket.socket, host: str, usual: int, taken: list[int]) -> int:
    candidates = range(usual, HIGHEST + 1) if usual else [0]
    for port in candidates:
        if port not in taken:
            with suppress(OSError):
                probe.bind((host, port))
                return int(probe.getsockname()[1])
    raise OSError(f"no port from {usual} on is free")
