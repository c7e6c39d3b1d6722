"""Machines as network namespaces of this one: each with its own loopback and address, behind one switch."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

PREFIX = f"tuner{os.getpid()}"
SWITCH = f"{PREFIX}-switch"
SUBNET = f"198.18.{os.getpid() % 256}"  # kept for tests of networks: RFC 2544


@dataclass(frozen=True)
class Machine:
    namespace: str
    address: str
    switch: str

    @property
    def inside(self) -> tuple[str, ...]:
        """Words before a command that is to run there."""
        return ("ip", "netns", "exec", self.namespace)

    def cut_off(self) -> None:
        """As if its cable was pulled: nothing arrives, and nobody is told."""
        _ip("-n", self.switch, "link", "set", f"to-{self.namespace[-1]}", "down")


@contextmanager
def network(count: int) -> Iterator[tuple[str, list[Machine]]]:
    """Our own address there and so many machines; skips where namespaces are not allowed."""
    machines = [Machine(f"{PREFIX}-{i}", f"{SUBNET}.{i + 10}", SWITCH) for i in range(count)]
    ours = f"{SUBNET}.1"
    try:
        _make_switch()
        _plug_in(f"{PREFIX}", ours, "to-us")
        for machine in machines:
            _ip("netns", "add", machine.namespace)
            _plug_in("eth0", machine.address, f"to-{machine.namespace[-1]}", machine.namespace)
        yield ours, machines
    finally:
        for name in (SWITCH, *[machine.namespace for machine in machines]):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _make_switch() -> None:
    try:
        _ip("netns", "add", SWITCH)
        _ip("-n", SWITCH, "link", "add", "bridge", "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or error
        pytest.skip(f"needs network namespaces, as root and `ip` of iproute2 make them: {reason}")
    _ip("-n", SWITCH, "link", "set", "bridge", "up")


def _plug_in(device: str, address: str, socket: str, namespace: str | None = None) -> None:
    """A cable from the switch's socket to a device of the namespace, or of this machine."""
    there = ["-n", namespace] if namespace else []
    end = ["netns", namespace] if namespace else ["netns", str(os.getpid())]
    _ip("-n", SWITCH, "link", "add", socket, "type", "veth", "peer", "name", device, *end)
    _ip("-n", SWITCH, "link", "set", socket, "master", "bridge", "up")
    _ip(*there, "address", "add", f"{address}/24", "dev", device)
    for each in (device, "lo"):
        _ip(*there, "link", "set", each, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
