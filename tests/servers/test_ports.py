"""Free ports, with sockets that listen."""

import socket

from tuner.servers.ports import LOOPBACK, free_ports


def test_a_taken_port_is_replaced_by_one_above_it() -> None:
    [port] = free_ports(0)
    with socket.create_server((LOOPBACK, port)):
        [other] = free_ports(port)
        assert other > port
    assert free_ports(port) == [port]


def test_no_port_is_given_twice() -> None:
    [port] = free_ports(0)
    with socket.create_server((LOOPBACK, port)):
        found = free_ports(port, port + 1, 0, 0)
    assert len(set(found)) == 4


def test_a_port_for_all_addresses_is_none_that_one_of_them_uses() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        assert free_ports(0, host="") != [taken.getsockname()[1]]
