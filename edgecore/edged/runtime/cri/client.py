"""The connection to a container engine: one HTTP/2 connection on a unix socket, for all calls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from google.protobuf.message import DecodeError
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import ProtocolError

from common.errors import ConfigError
from edgecore.edged.runtime.cri.methods import Method, Request, Response
from edgecore.edged.runtime.cri.refusals import EngineError, late, refusal, unanswered

T = TypeVar("T")

_SCHEME: Final = "unix://"


def socket_path(endpoint: str) -> str:
    """Return the path of the socket that ``endpoint`` (``unix:///run/…`` or a path) means.

    Raises:
        ConfigError: it is no absolute path.
    """
    path = endpoint.removeprefix(_SCHEME)
    if not path.startswith("/"):
        raise ConfigError([f"runtime endpoint {endpoint!r} is not unix:///<path of a socket>"])
    return path


class _Channel(Channel):
    """Says so when a new connection is lost at once; grpclib would trip over what is not there."""

    async def __connect__(self) -> H2Protocol:
        protocol = await super().__connect__()
        if not self._connected:
            raise ConnectionResetError("the connection was closed at once")
        return protocol


class CriClient:
    """Makes calls, and a new connection when the last one is gone."""

    def __init__(self, endpoint: str) -> None:
        """Make the client; the first call connects.

        Raises:
            ConfigError: ``endpoint`` is not the address of a unix socket.
        """
        self._path = socket_path(endpoint)
        self._channel: Channel | None = None

    def close(self) -> None:
        """End the connection, and with it the calls that are going on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    async def call(
        self, method: Method[Request, Response], request: Request, timeout_s: float | None = None
    ) -> Response:
        """Make one call and return its answer.

        Args:
            method: which call.
            request: what it takes.
            timeout_s: how long it may last, in place of the method's own deadline.

        Raises:
            EngineError: there is no answer, or it is a refusal.

        Cancellation: the engine is told; it may do its work nevertheless.
        """
        timeout_s = method.timeout_s if timeout_s is None else timeout_s

        async def work() -> Response:
            channel = self._connection()
            make = UnaryUnaryMethod(channel, method.path, method.request, method.response)
            return await make(request, timeout=timeout_s)

        return await self._apart(method.path, method.reason, timeout_s, work)

    async def follow(
        self,
        method: Method[Request, Response],
        request: Request,
        on_message: Callable[[Response], None],
    ) -> None:
        """Call ``on_message`` for each message of a stream, until the engine ends it.

        Raises:
            EngineError: the stream could not be had, or is broken.
        """

        async def work() -> None:
            channel = self._connection()
            make = UnaryStreamMethod(channel, method.path, method.request, method.response)
            async with make.open() as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    on_message(message)

        await self._apart(method.path, method.reason, None, work)

    def _connection(self) -> Channel:
        if self._channel is None:
            self._channel = _Channel(path=self._path)
        return self._channel

    async def _apart(
        self, name: str, reason: str, timeout_s: float | None, work: Callable[[], Awaitable[T]]
    ) -> T:
        """Do ``work`` in a task of its own and translate its errors.

        When a connection breaks, grpclib cancels the task that waits and makes an error of that,
        but the task goes on counting as cancelled: a timeout or a task group that it uses later
        would take that for a cancellation from outside.
        """

        async def guarded() -> T | EngineError:
            try:
                return await work()
            except GRPCError as error:
                return refusal(reason, error.status, error.message or "")
            except TimeoutError:  # before OSError, which it is one of
                return late(reason, timeout_s)
            except (OSError, StreamTerminatedError) as error:
                return unanswered(str(error))
            except (ProtocolError, DecodeError) as error:
                self.close()  # what comes makes no sense: begin anew
                return unanswered(f"{type(error).__name__}: {error}")

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(guarded(), name=name)
        result = task.result()
        if isinstance(result, EngineError):
            raise result
        return result
