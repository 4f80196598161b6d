"""Free ports, on the real loopback interface."""

import socket
from pathlib import Path

import pytest

from deploy.devcluster import ports


def test_free_ports_are_distinct_and_can_be_bound() -> None:
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    for port in found:
        with socket.socket() as server:
            # Connections of an earlier test may linger in TIME_WAIT: servers do not mind.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((ports.LOOPBACK, port))


def test_a_port_is_given_once_though_nobody_listens_on_it_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [given] = ports.free_ports(1)
    monkeypatch.setattr("random.randrange", lambda _low, _high: given)
    with pytest.raises(OSError, match="found 0 of 1 free ports"):
        ports.free_ports(1)


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < first for port in ports.free_ports(20))


def test_a_port_that_somebody_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        taken = server.getsockname()[1]

        def only_the_taken(_low: int, _high: int) -> int:
            return int(taken)

        monkeypatch.setattr("random.randrange", only_the_taken)
        with pytest.raises(OSError, match="found 0 of 1 free ports"):
            ports.free_ports(1)
