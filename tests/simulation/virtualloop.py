"""An event loop whose clock jumps, and the daemons that live and die in it.

Time passes only when nothing is left to do: then the clock stands at the next timer. So a schedule
of minutes takes milliseconds, and the same seed gives the same run.

A daemon here is whatever its tasks have scheduled. Killed, it never runs again, not even to clean
up: as a process that was sent SIGKILL.
"""

import asyncio
import contextvars
import selectors
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_CALLBACKS: Final = 3_000_000
"""A schedule that needs more runs in circles."""

_LEAST_WAIT_S: Final = 1e-6


class StalledError(Exception):
    """Nothing will ever happen again, or too much has happened."""


class Daemon:
    """A process of the simulated world: what it has scheduled runs only while it lives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_over = False
        """It has ended by itself."""

        self.failures: list[BaseException] = []
        """What it ended with, where that was not foreseen."""

        self.context = contextvars.copy_context()
        self.context.run(_DAEMON.set, self)


_DAEMON: Final = contextvars.ContextVar[Daemon | None]("daemon", default=None)
NOBODY: Final = contextvars.Context()
"""What is scheduled in it belongs to no daemon: the network, the API server, fate."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where in memory it is."""

    numbers = iter(range(1, 2**62))

    def __init__(self, *args: Any, **options: Any) -> None:
        self._number = next(self.numbers)
        self.daemon = options["context"].get(_DAEMON)
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class _Selector(selectors.BaseSelector):
    """Waits for nothing: where there is nothing to do the clock is put forward."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StalledError("nothing is left that could happen")
        if timeout > 0:
            self._loop.jump()
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:  # noqa: ARG002 - the signature of a selector
        raise AssertionError("a simulation has no sockets")

    def unregister(self, fileobj: Any) -> Any:  # noqa: ARG002 - as above
        raise AssertionError("a simulation has no sockets")

    def get_map(self) -> Any:
        return {}


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module's docstring. Files are read and written at once, in no time."""

    # What BaseEventLoop keeps, and no stub names.
    _selector: _Selector
    _clock_resolution: float
    _ready: deque[events.Handle]
    _scheduled: list[events.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._callbacks = 0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Return the simulated seconds since the beginning."""
        return self._now_s

    def jump(self) -> None:
        """Go to the time of the next timer."""
        self._now_s = max(self._now_s, self._scheduled[0].when())

    def start(self, daemon: Daemon, main: Coroutine[Any, Any, None]) -> None:
        """Run ``main`` as the main task of ``daemon``; how it fails stands in ``failures``."""
        task = self.create_task(main, name=daemon.name, context=daemon.context)
        task.add_done_callback(lambda done: _note(daemon, done), context=NOBODY)

    def tell(self, daemon: Daemon, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback`` soon, as something that happens in ``daemon``."""
        self.call_soon(callback, *args, context=daemon.context)

    def kill(self, daemon: Daemon) -> None:
        """End ``daemon`` as by SIGKILL: at once, with nothing done afterwards."""
        daemon.is_alive = False
        for handle in (*self._ready, *self._scheduled):
            if _owner(handle) is daemon:
                handle.cancel()
        for task in asyncio.all_tasks(self):
            if isinstance(task, _Task) and task.daemon is daemon:
                task._log_destroy_pending = False  # type: ignore[attr-defined] # not in the stubs

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> events.Handle:
        """Do as any loop, unless the daemon that wants it is dead."""
        self._callbacks += 1
        if self._callbacks > MAX_CALLBACKS:
            raise StalledError(f"after {MAX_CALLBACKS} steps there is no end in sight")
        handle = super().call_soon(callback, *args, context=context)
        return _buried(handle)

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> events.Handle:
        """Do as ``call_soon``: there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> events.TimerHandle:
        """Do as any loop, unless the daemon that wants it is dead."""
        return _buried(super().call_at(when, callback, *args, context=context))

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> events.TimerHandle:
        """Do as any loop; a wait that would be lost in rounding takes a moment none the less.

        Else it would be made again and again at the same moment.
        """
        if delay > 0:
            delay = max(delay, _LEAST_WAIT_S)
        return super().call_later(delay, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        """Call ``func`` here and now."""
        del executor
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever awaits the future gets it
            done.set_exception(error)
        return done

    def _write_to_self(self) -> None:
        """There is nobody in another thread who would have to be woken."""

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""


H = TypeVar("H", bound=events.Handle)


def _owner(handle: events.Handle) -> Daemon | None:
    context: contextvars.Context = handle._context  # type: ignore[attr-defined] # not in the stubs
    return context.get(_DAEMON)


def _buried(handle: H) -> H:
    """Cancel what a dead daemon has scheduled."""
    daemon = _owner(handle)
    if daemon is not None and not daemon.is_alive:
        handle.cancel()
    return handle


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    return _Task(coroutine, loop=loop, context=context or contextvars.copy_context())


def _note(daemon: Daemon, done: asyncio.Task[None]) -> None:
    daemon.is_over = True
    if not done.cancelled():
        error = done.exception()
        if error is not None:
            daemon.failures.append(error)
