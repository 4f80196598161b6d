"""What a run may not get from the machine: ids, time of day, randomness.

Installed for the whole process, which runs nothing but one schedule.
"""

import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

from common.clock import Clock
from edgecore.edged.runtime import hollow
from tests.simulation.virtualloop import VirtualLoop

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NS: Final = 10**9

# The bits of a UUID that say what it is, and what they are in one of version 4 (RFC 9562).
_FIXED_BITS: Final = 0xF << 76 | 0x3 << 62
_VERSION_4: Final = 0x4 << 76 | 0x2 << 62


class _Id(int):
    """A UUID, of which only the text is wanted."""

    def __str__(self) -> str:
        text = f"{self:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def install(seed: int, loop: VirtualLoop) -> None:
    """Have ids, random numbers and the time of day come from ``seed`` and ``loop``."""
    rng = random.Random(f"{seed}/ids")
    random.seed(f"{seed}/product")
    start_ns = int(_START.timestamp()) * _NS

    def uuid4() -> _Id:
        return _Id((rng.getrandbits(128) & ~_FIXED_BITS) | _VERSION_4)

    def now(*_: object) -> datetime:
        return _START + timedelta(seconds=loop.time())

    def time_ns() -> int:
        return start_ns + int(loop.time() * _NS)

    _replace(uuid, "uuid4", uuid4)
    _replace(time, "time_ns", time_ns)
    _replace(time, "time", lambda: time_ns() / _NS)
    _replace(hollow, "datetime", SimpleNamespace(now=now))
    _replace(Clock, "monotonic", lambda _: loop.time())
    _replace(Clock, "now", now)
    _replace(Clock, "now_ms", lambda _: time_ns() // 1_000_000)
    _replace(Clock, "learn", lambda *_: None)  # all clocks agree


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _replace(owner: Any, name: str, value: object) -> None:
    setattr(owner, name, value)
