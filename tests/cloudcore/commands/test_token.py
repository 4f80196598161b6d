"""``cloudcore token``, from its arguments to what it prints. Real: the API server."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore, tokenrecord, tokens
from cloudcore.trust.tokenrecord import Asker, Kept, Use
from cloudcore.trust.tokenrecords import TokenRecords
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import unique
from tests.cloudcore.commands.running import Run, runner

HEAD = ("NAME", "FOR", "STATE", "EXPIRES", "SINGLE-USE", "USED-BY", "USED", "REVOKED")

pytestmark = pytest.mark.e2e


@pytest.fixture
def token(
    control_plane: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """A function that runs ``cloudcore token …`` and returns exit code, output and errors."""
    return runner("token", control_plane.kubeconfig, monkeypatch, capsys)


@pytest.fixture(autouse=True)
async def authority(client: KubeClient) -> None:
    """As a cloudcore has made it that was started before."""
    await authoritystore.load_authorities(client, datetime.now(UTC))


async def found(client: KubeClient, name: str) -> Kept:
    kept = await TokenRecords(client).find(name)
    assert kept is not None
    return kept


def claims_of(output: str) -> dict[str, Any]:
    presented = output.strip().partition(".")[2]
    return jwt.decode(presented, options={"verify_signature": False})


async def test_a_token_stands_alone_on_one_line_and_is_recorded(
    token: Run, client: KubeClient
) -> None:
    name = unique("t")
    options = ("--node-name=store-*", "--single-use", "--ttl-hours=2")
    before = datetime.now(UTC).replace(microsecond=0)
    code, output, errors = await token("create", f"--name={name}", *options)
    assert (code, errors) == (0, "")
    assert output == f"{output.strip()}\n"
    now = datetime.now(UTC)
    authorities = await authoritystore.load_authorities(client, now)
    presented = output.strip().partition(".")[2]
    assert tokens.check_token(authorities.current, presented, now).name == name
    kept = await found(client, name)
    tokenrecord.judge(kept, presented, Asker(NodeID("store-1"), "k"), now)
    assert kept.record.node == "store-*"
    assert kept.record.single_use
    assert before <= kept.record.expires - timedelta(hours=2) <= now
    assert "node" not in claims_of(output)
    assert claims_of((await token("create", "--node-name=n1"))[1])["node"] == "n1"
    assert claims_of(output)["exp"] == kept.record.expires.timestamp()


async def test_a_token_without_a_name_gets_one_and_is_good_for_a_day_and_any_node(
    token: Run, client: KubeClient
) -> None:
    _, output, _ = await token("create")
    _, other, _ = await token("create")
    first, second = claims_of(output), claims_of(other)
    assert first["sub"] != second["sub"]
    assert first["jti"] != second["jti"]
    assert len(first["jti"]) == 32
    record = (await found(client, first["sub"])).record
    assert (record.node, record.single_use, record.used) == ("", False, None)
    assert record.expires > datetime.now(UTC) + timedelta(hours=23)


async def test_where_no_cloudcore_has_made_an_authority_none_is_made(
    token: Run, own_api: ControlPlane
) -> None:
    async with KubeClient(own_api.kubeconfig) as client:
        code, output, errors = await token("create", f"--kubeconfig={own_api.kubeconfig}")
        assert (code, output) == (1, "")
        assert "there is no authority" in errors
        assert await authoritystore.find_authorities(client) is None


async def test_a_name_is_given_once(token: Run) -> None:
    name = unique("t")
    assert (await token("create", f"--name={name}"))[0] == 0
    code, output, errors = await token("create", f"--name={name}")
    assert (code, output) == (1, "")
    assert f"there is a token {name} already: choose another --name" in errors


async def test_a_token_may_be_written_to_a_file_that_only_its_owner_reads(
    token: Run, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "token"
    assert await token("create", f"--output={path}") == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert claims_of(path.read_text())["sub"].startswith("token-")


async def test_a_token_that_cannot_be_written_is_revoked(
    token: Run, tmp_path: Path, client: KubeClient
) -> None:
    name = unique("t")
    (tmp_path / "file").write_text("")
    code, output, errors = await token(
        "create", f"--name={name}", f"--output={tmp_path / 'file' / 't'}"
    )
    assert (code, output) == (2, "")
    assert "--output: " in errors
    assert (await found(client, name)).record.revoked is not None


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--name=A",), "--name: small letters"),
        (("--node-name=a/b",), "--node-name: a node's name, or a pattern"),
        (("--output=/dev/null",), "--output: /dev/null: not a file"),
        (("--output=/dev/stdout",), "--output: /dev/stdout: not a file"),
    ],
)
async def test_a_faulty_option_is_named_and_nothing_is_made(
    token: Run, arguments: tuple[str, ...], fault: str
) -> None:
    name = unique("t")
    named = () if "--name=A" in arguments else (f"--name={name}",)
    code, output, errors = await token("create", *named, *arguments)
    assert (code, output) == (2, "")
    assert fault in errors
    assert name not in (await token("list"))[1]


async def test_the_list_tells_for_whom_a_token_is_and_what_has_become_of_it(
    token: Run, client: KubeClient
) -> None:
    good, used, revoked = unique("a"), unique("b"), unique("c")
    made = [
        (await token("create", f"--name={good}"))[1],
        (await token("create", f"--name={used}", "--node-name=n1", "--single-use"))[1],
        (await token("create", f"--name={revoked}", "--node-name=store-?"))[1],
    ]
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    records = TokenRecords(client)
    assert await records.note(await found(client, used), Use("n1", moment, "k"))
    assert await records.note(await found(client, revoked), Use("store-1", moment, "k"))
    code, output, errors = await token("revoke", revoked)
    assert (code, output) == (0, "")
    assert "used before, by store-1 and maybe others" in errors
    assert "by n1: `cloudcore cert revoke`" in (await token("revoke", used))[2]
    assert (await token("revoke", good))[1:] == ("", "")
    assert (await token("revoke", "nobody"))[0] == 1

    code, table, errors = await token("list")
    assert (code, errors) == (0, "")
    lines = table.splitlines()
    assert lines[0].split() == list(HEAD)
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows[good][:2] == ["any", "revoked"]
    assert rows[used][0] == "n1"
    assert rows[used][3:6] == ["yes", "n1", "2026-11-24T12:00:00Z"]
    assert rows[revoked][:2] == ["store-?", "revoked"]
    assert rows[revoked][3] == "no"

    code, text, _ = await token("list", "-o", "json")
    items = {one["name"]: one for one in json.loads(text)}
    assert items[used]["used"] == {"node": "n1", "time": "2026-11-24T12:00:00Z"}
    assert items[good]["node"] is None
    assert items[good]["used"] is None
    assert items[revoked]["singleUse"] is False
    assert items[revoked]["revoked"] == rows[revoked][-1]
    for one in made:
        assert one.strip().rpartition(".")[2] not in table + text
