"""The bus keeps order and bounds, and a reply finds who asked. Nothing is faked."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.beehive.context import Mailbox, MessageContext
from common.beehive.message import Message, new, reply
from common.errors import MailboxClosedError, ReplyTimeoutError, UnknownModuleError
from common.names import GroupName, ModuleName, Operation


def message(text: str = "x") -> Message:
    return new("edged", "meta", Operation.QUERY, text)


@pytest.fixture
def context() -> MessageContext:
    bus = MessageContext()
    bus.add_module(ModuleName.META_MANAGER, GroupName.META, capacity=2)
    bus.add_module(ModuleName.EDGED, GroupName.META, capacity=2)
    return bus


async def test_messages_of_one_sender_arrive_in_order(context: MessageContext) -> None:
    sent = [message(str(n)) for n in range(20)]

    async def sender() -> None:
        for m in sent:
            await context.send(ModuleName.EDGED, m)

    async with asyncio.TaskGroup() as group:
        group.create_task(sender())
        received = [await context.receive(ModuleName.EDGED) for _ in sent]
    assert received == sent


async def test_a_sender_waits_while_the_mailbox_is_full(context: MessageContext) -> None:
    for _ in range(2):
        await context.send(ModuleName.EDGED, message())
    async with asyncio.TaskGroup() as group:
        third = group.create_task(context.send(ModuleName.EDGED, message("third")))
        await asyncio.wait([third], timeout=0)
        assert not third.done()
        assert context.pending()[ModuleName.EDGED] == 2
        await context.receive(ModuleName.EDGED)
        await third


async def test_a_mailbox_tells_what_waits_and_how_often_something_was_taken(
    context: MessageContext,
) -> None:
    for _ in range(2):
        await context.send(ModuleName.EDGED, message())
    assert context.turns(ModuleName.EDGED, ModuleName.CLOUD_HUB) == {ModuleName.EDGED: (2, 0)}
    await context.receive(ModuleName.EDGED)
    assert context.turns(ModuleName.EDGED) == {ModuleName.EDGED: (1, 1)}


async def test_a_batch_takes_what_is_there_up_to_the_limit(context: MessageContext) -> None:
    sent = [message(str(n)) for n in range(2)]
    for m in sent:
        await context.send(ModuleName.EDGED, m)
    assert await context.receive_batch(ModuleName.EDGED, limit=1) == sent[:1]
    assert await context.receive_batch(ModuleName.EDGED, limit=9) == sent[1:]


async def test_a_sender_that_gives_up_has_not_sent(context: MessageContext) -> None:
    for _ in range(2):
        await context.send(ModuleName.EDGED, message("before"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await context.send(ModuleName.EDGED, message("given up"))
    context.close(ModuleName.EDGED)
    received = await context.receive_batch(ModuleName.EDGED, limit=9)
    assert [m.resource for m in received] == ["before", "before"]


async def test_a_reader_that_gives_up_takes_nothing(context: MessageContext) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await context.receive(ModuleName.EDGED)
    await context.send(ModuleName.EDGED, message("kept"))
    assert (await context.receive(ModuleName.EDGED)).resource == "kept"


async def test_a_closed_mailbox_gives_what_it_accepted_and_then_ends(
    context: MessageContext,
) -> None:
    await context.send(ModuleName.EDGED, message("accepted"))
    context.close(ModuleName.EDGED)
    with pytest.raises(MailboxClosedError):
        await context.send(ModuleName.EDGED, message("late"))
    assert (await context.receive(ModuleName.EDGED)).resource == "accepted"
    with pytest.raises(MailboxClosedError):
        await context.receive(ModuleName.EDGED)


async def test_closing_tells_senders_and_the_reader_that_wait() -> None:
    mailbox = Mailbox(1)
    await mailbox.put(message())

    async def refused() -> None:
        with pytest.raises(MailboxClosedError):
            await mailbox.put(message())

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(refused())
        await asyncio.wait([waiting], timeout=0)
        mailbox.close()
    assert len(mailbox) == 1

    empty = Mailbox(1)

    async def ended() -> None:
        with pytest.raises(MailboxClosedError):
            await empty.get_batch(1)

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(ended())
        await asyncio.wait([reading], timeout=0)
        empty.close()


async def test_a_module_that_does_not_exist_is_an_error_at_the_call(
    context: MessageContext,
) -> None:
    with pytest.raises(UnknownModuleError, match="cloudhub"):
        await context.send(ModuleName.CLOUD_HUB, message())
    with pytest.raises(UnknownModuleError, match="hub"):
        await context.send_to_group(GroupName.HUB, message())
    with pytest.raises(UnknownModuleError, match="already"):
        context.add_module(ModuleName.EDGED, GroupName.META)


async def echo(context: MessageContext, module: ModuleName) -> None:
    request = await context.receive(module)
    assert request.header.sync
    assert context.send_resp(reply(request))


async def test_a_request_gets_its_reply(context: MessageContext) -> None:
    asked = message()
    async with asyncio.TaskGroup() as group:
        group.create_task(echo(context, ModuleName.EDGED))
        answer = await context.send_sync(ModuleName.EDGED, asked, timeout_s=5)
    assert answer.parent_id == asked.msg_id


async def test_without_a_reply_in_time_the_request_fails_and_a_late_reply_finds_nobody(
    context: MessageContext,
) -> None:
    asked = message()
    with pytest.raises(ReplyTimeoutError, match="edged did not answer query x"):
        await context.send_sync(ModuleName.EDGED, asked, timeout_s=0.01)
    assert not context.send_resp(reply(asked))


async def test_a_second_reply_finds_nobody(context: MessageContext) -> None:
    asked = message()
    async with asyncio.TaskGroup() as group:
        call = group.create_task(context.send_sync(ModuleName.EDGED, asked, timeout_s=5))
        await context.receive(ModuleName.EDGED)
        assert context.send_resp(reply(asked))
        assert not context.send_resp(reply(asked))
        await call


async def test_a_group_gets_the_message_in_each_module(context: MessageContext) -> None:
    sent = message()
    await context.send_to_group(GroupName.META, sent)
    assert await context.receive(ModuleName.META_MANAGER) is sent
    assert await context.receive(ModuleName.EDGED) is sent


async def test_a_group_is_asked_as_one_and_answers_in_its_order(context: MessageContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(echo(context, ModuleName.EDGED))
        group.create_task(echo(context, ModuleName.META_MANAGER))
        answers = await context.send_to_group_sync(GroupName.META, message(), timeout_s=5)
    assert [a.parent_id.rpartition("/")[2] for a in answers] == ["metamanager", "edged"]


async def test_a_group_of_which_one_is_silent_is_a_timeout(context: MessageContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(echo(context, ModuleName.EDGED))
        with pytest.raises(ReplyTimeoutError, match="metamanager"):
            await context.send_to_group_sync(GroupName.META, message(), timeout_s=0.5)


@given(
    capacity=st.integers(1, 4),
    schedule=st.lists(st.sampled_from(["put", "cancel", "get"]), max_size=60),
)
def test_bound_and_order_hold_under_any_interleaving(capacity: int, schedule: list[str]) -> None:
    """Puts that wait, puts that are cancelled, and gets: what arrives is what was put, in order."""

    async def run() -> None:
        mailbox = Mailbox(capacity)
        expected: list[Message] = []
        received: list[Message] = []
        waiting: list[tuple[Message, asyncio.Task[None]]] = []
        async with asyncio.TaskGroup() as group:
            for step in schedule:
                match step:
                    case "put":
                        item = message()
                        expected.append(item)
                        waiting.append((item, group.create_task(mailbox.put(item))))
                    case "cancel":
                        pending = [(m, t) for m, t in waiting if not t.done()]
                        if pending:
                            item, task = pending[-1]
                            task.cancel()
                            expected.remove(item)
                    case "get" if len(mailbox):
                        received += await mailbox.get_batch(2)
                await asyncio.sleep(0)
                assert len(mailbox) <= capacity
            while len(received) < len(expected):
                received += await mailbox.get_batch(2)
        assert received == expected

    asyncio.run(run())
