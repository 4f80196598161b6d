"""``edgecore status`` on a real edge-store and a real socket; who answers there is faked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from common import issuing, pki, subjects
from common.errors import ConfigError
from common.health import Health
from common.metrics import Figures
from common.monitor import monitor
from common.names import NodeID
from edgecore.commands import status as status_module
from edgecore.commands.status import certificate_of, node_of, status
from edgecore.datadir import SOCKET
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Put, SetState
from edgecore.install.slots import State, write_state
from tests.edgecore.edgestore.objects import stored

NODE = "edge-1"


def run(folder: Path, *arguments: str) -> Result:
    commands = typer.Typer()
    commands.command()(status)
    environ = {"EDGECORE_NODE_NAME": NODE}
    return CliRunner().invoke(commands, [f"--data-dir={folder}", *arguments], env=environ)


@contextmanager
def answering(folder: Path, *, connected: bool) -> Iterator[None]:
    health = Health()
    health.report("edgecore", lambda: {"node": NODE, "since": "2026-01-01T00:00:00Z"})
    health.report(
        "edgehub", lambda: {"connected": connected, "since": "2026-01-01T00:00:00Z", "cloud": "c:1"}
    )
    with monitor(None, health, Figures(), folder / SOCKET):
        yield


def test_a_connected_edge_ends_with_0(tmp_path: Path) -> None:
    with answering(tmp_path, connected=True):
        result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert "connected to c:1" in result.output


def test_a_cut_edge_ends_with_3(tmp_path: Path) -> None:
    with answering(tmp_path, connected=False):
        assert run(tmp_path).exit_code == 3


def test_an_edge_that_does_not_run_is_told_from_its_store(tmp_path: Path) -> None:
    database = Database(tmp_path / "edge-store.db")
    database.open()
    pod = stored("default/pod/web", value=b'{"status":{"phase":"Running"}}')
    database.commit(
        [Put(pod), SetState("time", "2026-01-01T00:00:00Z"), SetState("complete", "yes")]
    )
    database.close()
    result = run(tmp_path, "--output=json")
    assert result.exit_code == 3
    shown = json.loads(result.output)
    assert shown["running"] is False
    assert shown["store"]["objects"] == 1
    assert shown["pods"] == {"Running": 1}
    assert shown["cloud"]["time"] == "2026-01-01T00:00:00Z"


def test_a_socket_of_a_killed_edge_is_nobody(tmp_path: Path) -> None:
    with answering(tmp_path, connected=True):
        (tmp_path / SOCKET).rename(tmp_path / "kept")
    (tmp_path / "kept").rename(tmp_path / SOCKET)
    assert (
        json.loads(run(tmp_path, "-o", "json").output)["edgecore"]["silence"] == "nobody is there"
    )


def test_the_end_of_the_certificate_is_read_from_its_file(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    key, authority = pki.new_key(), issuing.new_authority(now)
    issued = issuing.issue_node(authority, subjects.new_csr(key, NodeID(NODE)), NodeID(NODE), now)
    file = tmp_path / "pki" / f"{NODE}.pem"
    file.parent.mkdir()
    file.write_text(pki.cert_to_pem(issued.der))
    until = certificate_of(tmp_path, NODE).until
    assert until is not None
    assert until > now
    file.write_text("nothing")
    assert "not a certificate" in certificate_of(tmp_path, NODE).error


def test_an_edge_that_does_not_run_is_known_by_its_certificate(tmp_path: Path) -> None:
    assert node_of(tmp_path, "host") == "host"
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").touch()
    (tmp_path / "pki" / "edge-7.pem").touch()
    assert node_of(tmp_path, "host") == "edge-7"
    (tmp_path / "pki" / "edge-8.pem").touch()
    assert node_of(tmp_path, "host") == "host"


def test_a_node_without_a_certificate_joins_with_a_token(tmp_path: Path) -> None:
    assert (
        certificate_of(tmp_path, NODE).error
        == "none for edge-1; an edge gets one for its token, a site needs none"
    )


@pytest.mark.parametrize("content", [b"\xff", b"-----BEGIN CERTIFICATE-----"])
def test_what_is_no_certificate_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / f"{NODE}.pem").write_bytes(content)
    assert "not a certificate" in certificate_of(tmp_path, NODE).error


def test_the_version_that_is_to_run_is_read_from_the_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "HOME", tmp_path)
    write_state(tmp_path, State("2.0", "1.0", on_trial=True))
    assert json.loads(run(tmp_path, "-o", "json").output)["slot"]["previous"] == "1.0"
    (tmp_path / "state.json").write_text("[")
    assert "cannot be read" in json.loads(run(tmp_path, "-o", "json").output)["slot"]["why"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "it does not answer"),
        (OSError("odd"), "its answer cannot be used: odd"),
    ],
)
def test_a_socket_that_gives_no_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def fail(_: Path) -> bytes:
        raise error

    monkeypatch.setattr(status_module, "ask", fail)
    result = run(tmp_path, "-o", "json")
    assert result.exit_code == 3
    assert words in json.loads(result.output)["edgecore"]["silence"]


def test_another_user_is_told_whom_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(status_module, "ask", refuse)
    result = run(tmp_path)
    assert isinstance(result.exception, ConfigError)
    assert "ask as the user of edgecore" in str(result.exception)


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "pki" / f"{NODE}.pem").mkdir(parents=True)
    assert "directory" in certificate_of(tmp_path, NODE).error
