"""What is looked at before an edge joins: real sockets and files; the token is made up."""

import base64
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.checks import Finding, Verdict
from edgecore.config import EdgeCoreSettings, RuntimeName
from edgecore.install import joinchecks

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def token(payload: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"hash.head.{part}.signature"


def settings(folder: Path, port: int = 1, endpoint: str = "unix:///nowhere") -> EdgeCoreSettings:
    return EdgeCoreSettings(
        cloud="127.0.0.1",
        node_name="n1",
        https_port=port,
        websocket_port=port,
        data_dir=folder,
        runtime=RuntimeName.CRI,
        runtime_endpoint=endpoint,
    )


def verdicts(found: list[Finding]) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in found}


def test_all_is_well_where_all_is_there(tmp_path: Path) -> None:
    good = token({"exp": (NOW + timedelta(hours=1)).timestamp()})
    with (
        socket.create_server(("127.0.0.1", 0)) as cloud,
        socket.socket(socket.AF_UNIX) as engine,
    ):
        engine.bind(str(tmp_path / "e.sock"))
        engine.listen()
        told = settings(tmp_path, cloud.getsockname()[1], f"unix://{tmp_path}/e.sock")
        found = list(joinchecks.findings(told, good, NOW, is_root=True))
    assert set(verdicts(found).values()) == {Verdict.OK}
    assert not [one.fix for one in found if one.fix]


def test_each_fault_is_named_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = list(joinchecks.findings(settings(tmp_path, port), "a.b.c", NOW, is_root=False))
    failed = [one for one in found if one.verdict is Verdict.FAIL]
    assert {one.name for one in failed} == {
        "permission",
        "token",
        f"port {port}",
        "container engine",
    }
    assert all(one.fix for one in failed)


def test_no_engine_is_needed_where_pods_are_processes(tmp_path: Path) -> None:
    told = EdgeCoreSettings(
        cloud="127.0.0.1", node_name="n1", data_dir=tmp_path, runtime=RuntimeName.PROCESS
    )
    assert "container engine" not in verdicts(
        list(joinchecks.findings(told, "", NOW, is_root=True))
    )


def test_a_machine_that_is_another_node_already_says_which(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "n1.pem").write_text("")
    assert joinchecks.name_finding(settings(tmp_path)).verdict is Verdict.OK
    (tmp_path / "pki" / "old.pem").write_text("")
    found = joinchecks.name_finding(settings(tmp_path))
    assert found.verdict is Verdict.FAIL
    assert "old" in found.found
    assert "edgecore reset" in found.fix


@pytest.mark.parametrize("payload", [{"exp": 1.0}, {}, {"exp": "x"}, [1], {"exp": 1e300}], ids=str)
def test_a_token_that_has_run_out_by_our_clock_is_doubtful_no_more(payload: object) -> None:
    found = joinchecks.token_finding(token(payload), NOW)
    assert found.verdict is Verdict.WARN
    assert "cloudcore token create" in found.fix


def test_a_token_is_never_shown() -> None:
    for text in ("secret.secret.c2VjcmV0.secret", "secret", token({"exp": 1})):
        found = joinchecks.token_finding(text, NOW)
        assert "secret" not in f"{found.found}{found.fix}"
