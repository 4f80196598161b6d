"""Whose turn it is to speak to the controller. Real tasks on a real loop; the nodes are doubles."""

import asyncio
from dataclasses import dataclass, field

import pytest

from cloudcore.cloudhub.inbox import Inbox
from common.beehive.message import Message, new
from common.names import Operation


@dataclass(eq=False)
class Node:
    name: str
    inbox: Inbox
    waiting: list[Message] = field(default_factory=list)

    def say(self, times: int = 1) -> None:
        for _ in range(times):
            self.waiting.append(new("edged", "meta", Operation.QUERY, self.name))
            self.inbox.add(self)

    def take_request(self) -> Message | None:
        return self.waiting.pop(0) if self.waiting else None


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


async def names(inbox: Inbox, times: int) -> list[str]:
    return [(await inbox.next()).resource for _ in range(times)]


async def test_a_node_that_floods_waits_for_itself_and_not_others_for_it(inbox: Inbox) -> None:
    flood, lively, late = (Node(name, inbox) for name in ("flood", "lively", "late"))
    flood.say(1000)
    lively.say()
    assert await names(inbox, 3) == ["flood", "lively", "flood"]
    late.say()
    assert await names(inbox, 2) == ["flood", "late"]


async def test_what_one_node_says_stays_in_order(inbox: Inbox) -> None:
    node = Node("n", inbox)
    node.say(5)
    expected = list(node.waiting)
    assert [await inbox.next() for _ in range(5)] == expected


async def test_whoever_waits_is_woken_by_the_next_word(inbox: Inbox) -> None:
    node = Node("n", inbox)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(inbox.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        node.say()
    assert waiting.result().resource == "n"


async def test_a_node_with_nothing_to_say_any_more_costs_no_turn(inbox: Inbox) -> None:
    silent, other = Node("silent", inbox), Node("other", inbox)
    inbox.add(silent)
    other.say()
    assert await names(inbox, 1) == ["other"]
    assert inbox._ready == {other: None}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await inbox.next()
    assert inbox._ready == {}, "nobody is kept in memory for ever"


async def test_nothing_is_lost_when_whoever_waits_is_cancelled(inbox: Inbox) -> None:
    node = Node("n", inbox)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(inbox.next())
        await asyncio.sleep(0)
        node.say()
        waiting.cancel()
    assert await names(inbox, 1) == ["n"]
