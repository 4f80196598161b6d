"""Real Unix sockets in a folder of the test."""

import socket
from pathlib import Path

import pytest

from common.unixsocket import connect, listen

TIMEOUT_S = 10.0


def folder_with_a_long_name(within: Path) -> Path:
    folder = within / ("n" * 100) / ("m" * 100)
    folder.mkdir(parents=True)
    return folder


def test_a_folder_may_have_a_name_longer_than_addresses_are(tmp_path: Path) -> None:
    path = folder_with_a_long_name(tmp_path) / "s"
    with listen(path, 1) as listener, connect(path, TIMEOUT_S) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(b"x")
            assert server.recv(9) == b"x"


def test_only_this_user_may_connect(tmp_path: Path) -> None:
    with listen(tmp_path / "s", 1):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path, 1).close()
    with pytest.raises(ConnectionRefusedError):
        connect(path, TIMEOUT_S)
    with listen(path, 1), connect(path, TIMEOUT_S):
        pass


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(OSError, match="in use"):
        listen(tmp_path / "s", 1)
    assert (tmp_path / "s").read_text() == "mine"


def test_where_nobody_listens_nobody_connects(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(tmp_path / "s", TIMEOUT_S)
    with pytest.raises(FileNotFoundError):
        connect(tmp_path / "nowhere" / "s", TIMEOUT_S)


def test_a_silent_server_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with listen(tmp_path / "s", 1), connect(tmp_path / "s", 0.01) as client:
        assert client.gettimeout() == 0.01
        with pytest.raises(socket.timeout):
            client.recv(1)
