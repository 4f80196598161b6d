"""Tell systemd how the daemon is: ``Type=notify`` services, with a watchdog.

Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

from common.names import ModuleName
from common.progress import Progress, Turns

logger = logging.getLogger(__name__)

_TEN_YEARS_S: Final = 315_360_000.0
_US: Final = 1_000_000


def notify(state: str) -> None:
    """Send ``state`` (``READY=1``, ``STOPPING=1`` …) to systemd; nothing where it did not ask."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names begin with a zero byte
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
        systemd.settimeout(1.0)
        try:
            systemd.sendto(state.encode(), address)
        except OSError as error:
            logger.warning("systemd cannot be told", extra={"error": str(error)})


def watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds within which systemd wants to hear of process ``pid``; None: it does not.

    Source: sd_watchdog_enabled(3).
    """
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or not 0 < int(text) / _US < _TEN_YEARS_S:
        return None
    return int(text) / _US


async def keep_alive(turns: Callable[[], Mapping[ModuleName, Turns]]) -> None:
    """Say WATCHDOG twice in the time that systemd gives, for as long as all modules work.

    A loop that is stuck does not get here. Where a module hangs nothing more is said, and systemd
    starts the daemon anew. Returns at once where there is no watchdog; else runs until cancelled.

    Args:
        turns: tells what the mailboxes of the modules have seen, those that are judged.
    """
    limit_s = watchdog_s(os.environ, os.getpid())
    if limit_s is None:
        return
    progress, was_said = Progress(), False
    while True:
        hanging = progress.hanging(turns(), time.monotonic())
        if not hanging:
            notify("WATCHDOG=1")
        elif not was_said:
            logger.error(
                "modules hang: systemd is told no more that we live", extra={"modules": hanging}
            )
        was_said = bool(hanging)
        await asyncio.sleep(limit_s / 2)
