"""A cluster of one's own, as `tuner up` starts it, that several files test."""

import socket
from collections.abc import Iterator

import pytest

from tests.object_store import ObjectStore
from tuner.cluster import local
from tuner.files.paths import Home
from tuner.servers.ports import LOOPBACK, free_ports


@pytest.fixture(scope="session")
def own_cluster(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> Iterator[Home]:
    """Its home; it is up though a port was taken between the look for free ones and the first start.

    Its processes know the object store's credentials.
    """
    home = Home(tmp_path_factory.mktemp("a rather long folder for a home, as a person may have it"))
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.MonkeyPatch.context() as patch:
        gcs, dashboard, *others = free_ports(0, 0, 0, 0)
        looks = iter([[gcs, dashboard, taken.getsockname()[1], *others]])
        patch.setattr(local, "free_ports", lambda *usual: next(looks, None) or free_ports(*usual))
        local.up(home)
    yield home
    local.down(home)
