"""An event loop whose clock jumps, and the daemons that live and die in it.

Time passes only when nothing is left to do: then the clock stands at the next timer. So a schedule
of minutes takes milliseconds, and the same seed gives the same run.

A daemon here is whatever its tasks have scheduled. Killed, it never runs again, not even to clean
up: as a process that was sent SIGKILL.
"""

import asyncio
import contextvars
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final, TypeVar, TypeVarTuple

import msgspec

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_CALLBACKS: Final = 3_000_000
"""A schedule that needs more runs in circles."""

_LEAST_WAIT_S: Final = 1e-6
_SAME_S: Final = 1e-9
_FEW_TIMERS: Final = 100


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


class _Handle(msgspec.Struct):
    """A callback that is to be called; as much of ``asyncio.Handle`` as anybody uses."""

    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: contextvars.Context
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Have it never called."""
        self.is_cancelled = True
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        """Return whether it will not be called."""
        return self.is_cancelled


class _Timer(float):
    """A callback and the time it is due, as a number: so a heap compares quickly."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "loop")

    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: contextvars.Context
    is_cancelled: bool
    loop: "VirtualLoop | None"
    """The loop that has it among its timers."""

    def cancel(self) -> None:
        """Have it never called."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self.callback, self.args = _nothing, ()
            if self.loop is not None:
                self.loop.lost_timers += 1

    def cancelled(self) -> bool:
        """Return whether it will not be called."""
        return self.is_cancelled

    def when(self) -> float:
        """Return the time it is due."""
        return float(self)


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module's docstring. Files are read and written at once, in no time.

    What asyncio has in Python for handles, timers and its rounds is here once more, without what a
    simulation never needs: most of its time would pass there.
    """

    # What BaseEventLoop keeps, and no stub names.
    _ready: deque[_Handle | _Timer]
    _scheduled: list[_Timer]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._callbacks = 0
        self.lost_timers = 0
        """Cancelled ones that are still among the others."""

        self.set_task_factory(_make_task)

    get_debug = bool  # never; asked at each future, and quicker than a function

    def time(self) -> float:
        """Return the simulated seconds since the beginning."""
        return self._now_s

    def _run_once(self) -> None:
        """Go round after round until somebody stops the loop."""
        ready = self._ready
        while True:
            self._forget_lost_timers()
            self._take_due()
            count = len(ready)
            self._callbacks += count
            if self._callbacks > MAX_CALLBACKS:
                raise StalledError(f"after {MAX_CALLBACKS} steps there is no end in sight")
            for _ in range(count):
                handle = ready.popleft()
                if not handle.is_cancelled:
                    try:
                        handle.context.run(handle.callback, *handle.args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001 - what asyncio does with it
                        self._report(handle, error)
            if self._stopping:
                return

    def _forget_lost_timers(self) -> None:
        """Drop cancelled timers that come next, or all of them once they are the most."""
        timers = self._scheduled
        if len(timers) > _FEW_TIMERS and self.lost_timers > len(timers) / 2:
            for timer in timers:
                if timer.is_cancelled:
                    timer.loop = None
            self._scheduled = [timer for timer in timers if not timer.is_cancelled]
            heapq.heapify(self._scheduled)
            self.lost_timers = 0
            return
        while timers and timers[0].is_cancelled:
            heapq.heappop(timers).loop = None
            self.lost_timers -= 1

    def _take_due(self) -> None:
        """Have the timers called that are due; where nothing else is to be done, those to come."""
        timers, ready = self._scheduled, self._ready
        if not ready and not self._stopping:
            if not timers:
                raise StalledError("nothing is left that could happen")
            self._now_s = max(self._now_s, float(timers[0]))
        end_s = self._now_s + _SAME_S
        while timers and timers[0] < end_s:
            timer = heapq.heappop(timers)
            timer.loop = None
            ready.append(timer)

    def _report(self, handle: _Handle | _Timer, error: BaseException) -> None:
        message = f"Exception in callback {handle.callback!r}"
        self.call_exception_handler({"message": message, "exception": error})

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
            if handle.context.get(_DAEMON) is daemon:
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
        if context is None:
            context = contextvars.copy_context()
        handle = _Handle(callback, args, context)
        daemon = context.get(_DAEMON)
        if daemon is None or daemon.is_alive:
            self._ready.append(handle)
        else:
            handle.cancel()
        return handle  # type: ignore[return-value] # stands for asyncio's

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
        if context is None:
            context = contextvars.copy_context()
        timer = _Timer(when)
        timer.callback, timer.args, timer.context = callback, args, context
        timer.is_cancelled, timer.loop = False, self
        heapq.heappush(self._scheduled, timer)
        daemon = context.get(_DAEMON)
        if daemon is not None and not daemon.is_alive:
            timer.cancel()
        return timer  # type: ignore[return-value] # stands for asyncio's

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
        return self.call_at(self._now_s + delay, callback, *args, context=context)

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


def _nothing() -> None:
    """Stand for a callback that was cancelled, so that it is not kept."""


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
