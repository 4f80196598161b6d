"""Requests to the API server.

Real: API server with RBAC, Node authorizer and NodeRestriction. What no API server can be brought
to do (to be silent, to hurry us off) is done by a small HTTP server on loopback.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudcore.kube import client as client_module
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.kube.figures import RequestFigures
from common.errors import RemoteError
from common.metrics import Figures
from common.names import NodeID
from tests.cloudcore.cluster import body, load, make_node, pod_object, unique

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served_by(reply: Reply, folder: Path, **options: Any) -> AsyncIterator[KubeClient]:
    """A client of a server that answers every connection by ``reply``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reply(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kubeconfig = folder / "kubeconfig"
    named = {"name": "x"}
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{**named, "user": {"token": "t"}}],
                "contexts": [{**named, "context": {"cluster": "x", "user": "x"}}],
                "current-context": "x",
            }
        )
    )
    async with server, KubeClient(kubeconfig, **options) as client:
        yield client


def http(status: str, text: bytes, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + text


async def code_of(request: Awaitable[object]) -> int:
    with pytest.raises(RemoteError) as refused:
        await request
    return refused.value.status.code


async def test_an_object_is_created_read_changed_and_deleted(
    client: KubeClient, namespace: str
) -> None:
    path = kinds.CONFIGMAPS.path(namespace)
    created = load(await client.create(path, body({"metadata": {"name": "c"}, "data": {"a": "1"}})))
    one = kinds.CONFIGMAPS.path(namespace, "c")
    assert load(await client.get(one)) == created
    created["data"]["a"] = "2"
    updated = load(await client.update(one, body(created)))
    assert updated["data"] == {"a": "2"}
    patched = await client.patch(one, b'{"data":{"a":"3"}}', content_type=MERGE_PATCH)
    assert load(patched)["data"] == {"a": "3"}
    listed = load(await client.get(path, params={"fieldSelector": "metadata.name=c"}))
    assert len(listed["items"]) == 1
    await client.delete(one)
    assert await code_of(client.get(one)) == 404


async def test_refusals_are_in_the_words_of_the_api_server(
    client: KubeClient, namespace: str
) -> None:
    path = kinds.CONFIGMAPS.path(namespace)
    made = load(await client.create(path, body({"metadata": {"name": "c"}})))
    with pytest.raises(RemoteError) as taken:
        await client.create(path, body({"metadata": {"name": "c"}}))
    assert (taken.value.status.code, taken.value.status.reason) == (409, "AlreadyExists")
    made["metadata"]["resourceVersion"] = "1"
    with pytest.raises(RemoteError) as stale:
        await client.update(f"{path}/c", body(made))
    assert (stale.value.status.code, stale.value.status.reason) == (409, "Conflict")
    with pytest.raises(RemoteError) as unknown:
        await client.get("/nonsense")
    assert (unknown.value.status.code, unknown.value.status.reason) == (404, "NotFound")


async def test_a_precondition_holds(client: KubeClient, namespace: str) -> None:
    path = kinds.CONFIGMAPS.path(namespace)
    await client.create(path, body({"metadata": {"name": "c"}}))
    options = body({"preconditions": {"uid": "another"}})
    assert await code_of(client.delete(f"{path}/c", options)) == 409


async def _delete_pod(client: KubeClient, namespace: str, node: NodeID) -> object:
    return await client.delete(kinds.PODS.path(namespace, "p"), as_node=node)


async def test_what_is_applied_is_created_or_changed_but_not_where_others_have_set_it(
    client: KubeClient, namespace: str
) -> None:
    one = kinds.CONFIGMAPS.path(namespace, "applied")

    def said(**data: str) -> bytes:
        return body(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": data}
        )

    made = load(await client.apply(one, said(a="1", b="1"), manager="tests"))
    same = load(await client.apply(one, said(a="1", b="1"), manager="tests"))
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    await client.patch(one, b'{"data":{"a":"2","c":"2"}}', content_type=MERGE_PATCH)
    with pytest.raises(RemoteError) as refused:
        await client.apply(one, said(a="1"), manager="tests")
    assert (refused.value.status.code, refused.value.status.reason) == (409, "Conflict")
    forced = load(await client.apply(one, said(a="1"), manager="tests", force=True))
    assert forced["data"] == {"a": "1", "c": "2"}
    with pytest.raises(RemoteError, match="field not declared in schema"):
        await client.apply(one, body(load(said()) | {"datum": {}}), manager="tests")


async def test_in_a_nodes_name_only_what_is_the_nodes_can_be_done(
    client: KubeClient, namespace: str
) -> None:
    mine, other = await make_node(client), await make_node(client)
    assert load(await client.get(kinds.NODES.path(name=mine), as_node=mine))["kind"] == "Node"
    assert await code_of(client.get(kinds.NODES.path(name=other), as_node=mine)) == 403
    status = b'{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    theirs = client.patch(
        kinds.NODES.path(name=other, subresource="status"),
        status,
        content_type=MERGE_PATCH,
        as_node=mine,
    )
    assert await code_of(theirs) == 403
    label = client.patch(
        kinds.NODES.path(name=mine),
        b'{"metadata":{"labels":{"node-role.kubernetes.io/edge":""}}}',
        content_type=MERGE_PATCH,
        as_node=NodeID(other),
    )
    assert await code_of(label) == 403
    await client.create(kinds.PODS.path(namespace), body(pod_object(namespace, "p", other)))
    # NodeRestriction judges by a cache of its own, which has not seen the pod at once.
    code = 404
    while code == 404:
        code = await code_of(_delete_pod(client, namespace, mine))
    assert code == 403
    assert await code_of(client.get(kinds.SECRETS.path(namespace, "s"), as_node=mine)) == 403


@pytest.mark.parametrize("is_constrained", [False, True])
async def test_the_group_of_nodes_is_said_only_where_the_api_server_does_not_know_it(
    tmp_path: Path, *, is_constrained: bool
) -> None:
    heard: list[bytes] = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()

    async with served_by(reply, tmp_path, is_constrained=is_constrained) as client:
        await client.get("/x", as_node=NodeID("n1"))
    assert b"Impersonate-User: system:node:n1\r\n" in heard[0]
    assert (b"Impersonate-Group: system:nodes\r\n" in heard[0]) is not is_constrained


async def test_what_is_looked_for_may_not_be_there(client: KubeClient, namespace: str) -> None:
    path = kinds.CONFIGMAPS.path(namespace, "sought")
    assert await client.find(path) is None
    made = {"metadata": {"name": "sought", "namespace": namespace}}
    await client.create(kinds.CONFIGMAPS.path(namespace), body(made))
    found = await client.find(path)
    assert found is not None
    assert load(found)["metadata"]["name"] == "sought"


async def test_the_certificate_authority_is_that_of_the_credentials(client: KubeClient) -> None:
    assert client.ca_pem().startswith(b"-----BEGIN CERTIFICATE-----")
    assert client.server.startswith("https://127.0.0.1:")


async def test_a_watch_gives_whole_lines_of_large_objects(
    client: KubeClient, namespace: str
) -> None:
    path = kinds.CONFIGMAPS.path(namespace)
    large = "x" * 1_000_000
    async with aclosing(client.watch(path, {"timeoutSeconds": "60"})) as lines:
        await client.create(path, body({"metadata": {"name": unique("c")}, "data": {"v": large}}))
        async for line in lines:
            event = load(line)
            if event["object"].get("data", {}).get("v") == large:
                return
    pytest.fail("the watch ended")


async def test_a_watch_that_is_refused_says_why(client: KubeClient) -> None:
    with pytest.raises(RemoteError, match="404"):
        await anext(client.watch("/api/v1/nonsense", {}))


async def test_a_watch_ends_when_the_api_server_ends_it(client: KubeClient) -> None:
    path = kinds.LEASES.path("default")
    lines = [line async for line in client.watch(path, {"timeoutSeconds": "1"})]
    assert lines == []


async def test_text_is_cut_and_is_no_status(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http("502 Bad Gateway", b"<html>" + b"secret" * 1000))
        await writer.drain()

    async with served_by(answer, tmp_path) as client:
        with pytest.raises(RemoteError) as refused:
            await client.get("/x")
    assert refused.value.status.code == 502
    assert len(refused.value.status.message) <= 256


async def test_the_time_is_that_of_the_api_server(tmp_path: Path) -> None:
    told = ["Date: Thu, 26 Nov 2026 12:00:01 GMT", "Date: noon"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while told:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http("403 Forbidden", b"{}", told.pop(0)))
            await writer.drain()

    async with served_by(answer, tmp_path) as client:
        assert await client.server_time() == datetime(2026, 11, 26, 12, 0, 1, tzinfo=UTC)
        with pytest.raises(RemoteError, match="no time: 'noon'"):
            await client.server_time()


async def test_a_server_that_is_away_is_a_503(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with served_by(hang_up, tmp_path) as client:
        assert await code_of(client.create("/x", b"{}")) == 503


async def test_a_server_that_is_silent_is_a_504(tmp_path: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served_by(say_nothing, tmp_path, request_timeout_s=0.1) as client:
        assert await code_of(client.get("/x")) == 504


async def test_a_watch_that_is_silent_for_too_long_is_a_504(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WATCH_SILENCE_S", 0.1)

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"type":"half')
        await reader.read()

    async with served_by(begin, tmp_path) as client:
        assert await code_of(anext(client.watch("/x", {}))) == 504


async def test_a_request_that_came_too_early_is_made_again(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def hurry_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if len(asked) < 3:
                writer.write(http("429 Too Many Requests", b"", "Retry-After: 0"))
            else:
                writer.write(http("200 OK", b"{}"))
            await writer.drain()

    figures = RequestFigures(Figures())
    async with served_by(hurry_off, tmp_path, figures=figures) as client:
        assert await client.get("/x") == b"{}"
    assert len(asked) == 3
    assert figures.throttled.value == 2
    assert figures.requests.value_of("GET", "200") == 1


async def test_a_redirect_is_no_answer(tmp_path: Path) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http("301 Moved Permanently", b"", "Location: /elsewhere"))
        await writer.drain()

    async with served_by(redirect, tmp_path) as client:
        assert await code_of(client.get("/x")) == 301


async def test_that_the_api_server_is_away_and_back_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answers = iter(
        [*[http("503 Service Unavailable", b"")] * 2, http("200 OK", b"{}"), http("200 OK", b"{}")]
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))
        await writer.drain()

    async with served_by(serve, tmp_path) as client:
        for _ in range(2):
            assert await code_of(client.get("/x")) == 503
        for _ in range(2):
            assert await client.get("/x") == b"{}"
    said = [record.message for record in caplog.records if record.name == client_module.__name__]
    assert said == ["the API server cannot be reached", "the API server is back"]
