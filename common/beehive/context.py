"""The message context: mailboxes of modules, groups of modules, and replies that are waited for.

It has KubeEdge's verbs in their Python form: Send, Receive, SendSync, SendResp, SendToGroup,
SendToGroupSync (staging/src/github.com/kubeedge/beehive/pkg/core/context). Unlike there, on
purpose:

- a mailbox is bounded and a sender waits for room: nothing is dropped, and one sender's messages
  keep their order;
- a module that does not exist is an error at the call, not a warning in a log;
- a module that shuts down refuses new messages and still receives those it had accepted.

Rule: a module never awaits a reply (``send_sync``) inside its own receive loop, because the reply
may need that loop. It does so in a child task of its own.
"""

import asyncio
from collections import deque
from typing import Final

import msgspec

from common.beehive.message import Message
from common.errors import MailboxClosedError, ReplyTimeoutError, UnknownModuleError
from common.names import GroupName, ModuleName
from common.progress import Turns

DEFAULT_CAPACITY: Final = 1024
"""Messages that one mailbox holds before its senders wait."""


class Mailbox:
    """A bounded, ordered, closable queue with one reader.

    A sender that has to wait leaves its message in ``_waiting`` and the reader moves it over: were
    the sender woken to append by itself, a third party could take the free place first, and the
    bound or the order would not hold.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Message] = deque()
        self._waiting: deque[tuple[Message, asyncio.Future[None]]] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._closed = False
        self.taken = 0
        """How often messages were taken."""

    def __len__(self) -> int:
        """Messages accepted and not yet received, senders that wait not counted."""
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Whether the mailbox takes no more."""
        return self._closed

    async def put(self, message: Message) -> None:
        """Add ``message`` behind all that was put before; wait while the mailbox is full.

        Cancellation: the message is either in the mailbox or was never put.

        Raises:
            MailboxClosedError: it was closed, now or while waiting.
        """
        if self._closed:
            raise MailboxClosedError("the mailbox is closed")
        if len(self._items) < self._capacity and not self._waiting:
            self._items.append(message)
            self._wake_reader()
            return
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (message, accepted)
        self._waiting.append(entry)
        try:
            await accepted
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            raise

    async def get_batch(self, limit: int) -> list[Message]:
        """Return from one to ``limit`` messages, oldest first; wait while there is none.

        Cancellation: nothing is taken.

        Raises:
            MailboxClosedError: it is closed, and everything it had accepted was received.
        """
        while not self._items:
            if self._closed:
                raise MailboxClosedError("the mailbox is closed and empty")
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        batch = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
        self.taken += 1
        self._admit_waiting()
        return batch

    def close(self) -> None:
        """Take no more; the reader may still take what is inside.

        Senders that wait get ``MailboxClosedError``.
        """
        self._closed = True
        for _, accepted in self._waiting:
            if not accepted.done():
                accepted.set_exception(MailboxClosedError("the mailbox was closed"))
        self._waiting.clear()
        self._wake_reader()

    def _admit_waiting(self) -> None:
        while self._waiting and len(self._items) < self._capacity:
            message, accepted = self._waiting.popleft()
            if (
                not accepted.done()
            ):  # done means cancelled: that sender has been told that it did not send
                self._items.append(message)
                accepted.set_result(None)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class MessageContext:
    """The bus of one daemon. Modules are added before the first message is sent."""

    def __init__(self) -> None:
        self._mailboxes: dict[ModuleName, Mailbox] = {}
        self._groups: dict[GroupName, list[ModuleName]] = {}
        # msg_id -> who waits for the reply. Bounded by the callers, each of which waits with a
        # deadline.
        self._replies: dict[str, asyncio.Future[Message]] = {}

    def add_module(
        self, name: ModuleName, group: GroupName, *, capacity: int = DEFAULT_CAPACITY
    ) -> None:
        """Give ``name`` a mailbox of ``capacity`` messages and make it a member of ``group``."""
        if name in self._mailboxes:
            raise UnknownModuleError(f"module {name} is there already")
        self._mailboxes[name] = Mailbox(capacity)
        self._groups.setdefault(group, []).append(name)

    async def send(self, module: ModuleName, message: Message) -> None:
        """Put ``message`` into the mailbox of ``module``; wait while that is full.

        Order and delivery: messages of one sender arrive in order, each exactly once.

        Raises:
            UnknownModuleError: there is no such module in this daemon.
            MailboxClosedError: the module is shutting down.
        """
        await self._mailbox(module).put(message)

    async def receive(self, module: ModuleName) -> Message:
        """Return the next message for ``module``.

        Raises:
            MailboxClosedError: the module was asked to stop and has received everything.
        """
        return (await self._mailbox(module).get_batch(1))[0]

    async def receive_batch(self, module: ModuleName, *, limit: int) -> list[Message]:
        """Return all that waits for ``module``, at most ``limit``: one await for many messages."""
        return await self._mailbox(module).get_batch(limit)

    async def send_sync(self, module: ModuleName, message: Message, *, timeout_s: float) -> Message:
        """Send ``message`` to ``module`` and return the reply that comes by ``send_resp``.

        Raises:
            ReplyTimeoutError: none came within ``timeout_s`` seconds.
            UnknownModuleError, MailboxClosedError: as ``send``.
        """
        header = msgspec.structs.replace(message.header, sync=True)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[message.msg_id] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self.send(module, msgspec.structs.replace(message, header=header))
                return await answer
        except TimeoutError:
            raise ReplyTimeoutError(
                f"{module} did not answer {message.operation} {message.resource}"
                f" within {timeout_s} s"
            ) from None
        finally:
            del self._replies[message.msg_id]

    def send_resp(self, message: Message) -> bool:
        """Give ``message`` to whoever waits for this reply; return whether somebody did.

        It never waits. A reply that nobody waits for any more is the caller's to count.
        """
        answer = self._replies.get(message.parent_id)
        if answer is None or answer.done():
            return False
        answer.set_result(message)
        return True

    async def send_to_group(self, group: GroupName, message: Message) -> None:
        """Send ``message`` to every module of ``group``, one after the other.

        Raises:
            UnknownModuleError: the group has no module.
        """
        for module in self._members(group):
            await self.send(module, message)

    async def send_to_group_sync(
        self, group: GroupName, message: Message, *, timeout_s: float
    ) -> list[Message]:
        """Send ``message`` to every module of ``group`` and return their replies in its order.

        Each module gets a copy with an id of its own, so that each reply is matched to one module.

        Raises:
            ReplyTimeoutError: not all have answered within ``timeout_s`` seconds.
        """
        copies = [
            (
                module,
                msgspec.structs.replace(
                    message,
                    header=msgspec.structs.replace(
                        message.header, msg_id=f"{message.msg_id}/{module}"
                    ),
                ),
            )
            for module in self._members(group)
        ]
        late: ReplyTimeoutError | None = None
        calls: list[asyncio.Task[Message]] = []
        try:
            async with asyncio.TaskGroup() as group_calls:
                calls = [
                    group_calls.create_task(
                        self.send_sync(module, copy, timeout_s=timeout_s),
                        name=f"send_sync {module}",
                    )
                    for module, copy in copies
                ]
        except* ReplyTimeoutError as errors:
            # Raised in here, Python before 3.11.4 would put it into a group.
            late = next(
                error for error in errors.exceptions if isinstance(error, ReplyTimeoutError)
            )
        if late is not None:
            raise late
        return [call.result() for call in calls]

    def close(self, module: ModuleName) -> None:
        """Ask ``module`` to stop: its mailbox takes no more, and ends once it is empty."""
        self._mailbox(module).close()

    def pending(self) -> dict[str, int]:
        """Return how many messages wait in each mailbox, for metrics."""
        return {name.value: len(mailbox) for name, mailbox in self._mailboxes.items()}

    def turns(self, *modules: ModuleName) -> dict[ModuleName, Turns]:
        """Return what the mailboxes of ``modules`` have seen; those that are not there left out."""
        return {
            name: Turns(len(mailbox), mailbox.taken)
            for name, mailbox in self._mailboxes.items()
            if name in modules
        }

    def _mailbox(self, module: ModuleName) -> Mailbox:
        try:
            return self._mailboxes[module]
        except KeyError:
            raise UnknownModuleError(f"this daemon has no module {module}") from None

    def _members(self, group: GroupName) -> list[ModuleName]:
        try:
            return self._groups[group]
        except KeyError:
            raise UnknownModuleError(f"this daemon has no module in group {group}") from None
