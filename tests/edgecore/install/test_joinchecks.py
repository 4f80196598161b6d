"""What is looked at before an edge joins: a cloud by TLS on loopback; the token is made up."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.checks import Finding, Verdict
from deploy.devcluster.ports import free_ports
from edgecore.config import EdgeCoreSettings, RuntimeName
from edgecore.install import joinchecks
from tests.edgecore.cloud import TestCloud
from tests.edgecore.install.test_joining import silent

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


async def test_all_is_well_where_all_is_there(tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    cloud = TestCloud(tmp_path / "cloud")
    good = token({"exp": (NOW + timedelta(hours=1)).timestamp()})
    async with cloud.listening(silent):
        told = replace(
            settings(tmp_path, cloud.https_port),
            websocket_port=cloud.websocket_port,
            runtime=RuntimeName.PROCESS,
        )
        found = await asyncio.to_thread(look, told, good)
    assert [one for one in found if one.verdict is Verdict.FAIL] == []
    names = [one.name for one in found]
    assert {"permission", "name", "token", "name in the certificate"} <= set(names)
    assert "edgecore" not in names


def look(told: EdgeCoreSettings, token: str) -> list[Finding]:
    return list(joinchecks.findings(told, token, NOW, is_root=True))


def test_each_fault_is_named_and_says_what_to_do(tmp_path: Path) -> None:
    [port] = free_ports(1)
    found = list(joinchecks.findings(settings(tmp_path, port), "a.b.c", NOW, is_root=False))
    failed = [one for one in found if one.verdict is Verdict.FAIL]
    assert {"permission", "token", f"port {port}", "container engine"} <= {
        one.name for one in failed
    }
    assert all(one.fix for one in failed)


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
