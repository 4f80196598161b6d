"""Requests: a real bus, with answers as the recorded cloud gave them."""

import asyncio
import json

import pytest

from common.beehive.context import MessageContext
from common.beehive.message import raw, refusal, reply
from common.errors import WireError
from common.names import GroupName, ModuleName, Operation
from common.status import not_found
from edgecore.edged.requests import Answer, Requests, read_answer
from tests import transcript


def test_every_recorded_answer_can_be_read() -> None:
    answers = {
        line.resource: read_answer(json.dumps(line.message["content"]).encode())
        for line in transcript.lines()
        if line.direction == "down" and line.operation == "response"
    }
    assert answers["default/configmap/web"].obj["data"]
    assert answers["default/serviceaccounttoken/default"].not_found
    assert answers["kube-node-lease/lease/ke-real"].obj["spec"]["holderIdentity"] == "ke-real"
    assert answers["default/pod/web"].value == "OK"
    assert all(answer.ok or answer.not_found for answer in answers.values())


def test_an_empty_error_is_none_and_a_full_one_is_one() -> None:
    assert read_answer(b'{"Object":null,"Err":{}}') == Answer(None)
    refused = read_answer(b'{"Object":null,"Err":{"ErrStatus":{"code":409}}}')
    assert refused.status is not None
    assert refused.status.is_conflict
    assert refused.obj == {}


def test_an_object_with_such_fields_beside_others_is_an_object() -> None:
    assert read_answer(b'{"Object":1,"Err":2,"x":3}').obj == {"Object": 1, "Err": 2, "x": 3}


@pytest.mark.parametrize("data", [b"{", b'{"ErrStatus":1}', b'{"Object":1,"Err":"no"}'])
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        read_answer(data)


async def asked(content: object, *, timeout_s: float = 5.0) -> Answer:
    """Return what ``ask`` makes of ``content``; None for no answer at all."""
    context = MessageContext()
    context.add_module(ModuleName.META_MANAGER, GroupName.META)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            Requests(context).ask(Operation.QUERY, "default/configmap/web", timeout_s=timeout_s)
        )
        request = await context.receive(ModuleName.META_MANAGER)
        assert (request.route.source, request.route.group) == ("edged", "meta")
        if content is not None:
            context.send_resp(reply(request, raw(content)))
    return task.result()


async def test_an_answer_comes_back() -> None:
    assert (await asked({"kind": "ConfigMap"})).obj == {"kind": "ConfigMap"}


async def test_no_answer_in_time_is_an_answer() -> None:
    answer = await asked(None, timeout_s=0.01)
    assert answer.status is not None
    assert answer.status.code == 504


async def test_an_answer_that_cannot_be_read_is_a_failure_and_no_value() -> None:
    answer = await asked({"ErrStatus": 1})
    assert answer.status is not None
    assert answer.status.code == 502


async def test_when_the_daemon_stops_nothing_can_be_asked() -> None:
    context = MessageContext()
    context.add_module(ModuleName.META_MANAGER, GroupName.META)
    context.close(ModuleName.META_MANAGER)
    answer = await Requests(context).ask(Operation.QUERY, "default/configmap/web")
    assert answer.status is not None
    assert answer.status.code == 503


async def test_a_refusal_of_metamanager_is_a_status() -> None:
    context = MessageContext()
    context.add_module(ModuleName.META_MANAGER, GroupName.META)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(Requests(context).ask(Operation.QUERY, "default/secret/x"))
        request = await context.receive(ModuleName.META_MANAGER)
        context.send_resp(refusal(request, not_found("secret", "x")))
    assert task.result().not_found
