"""Loopback ports that stay ours across restarts."""

import random
import socket
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SPAN: Final = 12_000
_LOWEST: Final = 1025
_ATTEMPTS: Final = 200
# Nobody listens yet on a port whose owner is about to start, or has just been stopped.
_given: Final[set[int]] = set()


def free_ports(count: int) -> list[int]:
    """``count`` different TCP ports on loopback that nobody listens on.

    They lie below the range from which the kernel serves outgoing connections and binds to port 0:
    a port of that range can be taken while the program that owns it is being restarted. For the
    same reason no port is given twice by a process.

    Raises:
        OSError: where no free ports were found.
    """
    first_ephemeral = int(_EPHEMERAL_RANGE.read_text().split()[0])
    low = max(_LOWEST, first_ephemeral - _SPAN)
    high = max(first_ephemeral, low + _SPAN)
    found: set[int] = set()
    for _ in range(_ATTEMPTS):
        if len(found) == count:
            _given.update(found)
            return list(found)
        port = random.randrange(low, high)  # noqa: S311  (a port is no secret)
        if port not in _given and _is_free(port):
            found.add(port)
    message = f"found {len(found)} of {count} free ports between {low} and {high}"
    raise OSError(message)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection that lingers in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
