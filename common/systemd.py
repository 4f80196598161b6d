"""Tell systemd how the daemon is: ``Type=notify`` services.

Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import logging
import os
import socket

logger = logging.getLogger(__name__)


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
