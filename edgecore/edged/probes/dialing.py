"""Connecting to a container, with kubelet's words where nobody is there."""

import asyncio
import os
import socket
import ssl

from edgecore.edged.probes.probewords import join_host_port


class DialError(Exception):
    """There is nobody at an address; the text says why."""


async def dial(
    host: str, port: int, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, by TLS where there is a context.

    Raises:
        DialError: nobody could be reached.
        ssl.SSLError: somebody who does not speak TLS as we do.
    """
    try:
        return await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError:
        raise
    except (OSError, UnicodeError) as error:
        raise DialError(dial_words(error, host, port)) from error


def dial_words(error: Exception, host: str, port: int) -> str:
    """Return why nobody could be reached at ``host``."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"dial tcp: lookup {host}: no such host"
    number = error.errno if isinstance(error, OSError) else None
    why = os.strerror(number).lower() if number else str(error) or "EOF"
    return f"dial tcp {join_host_port(host, port)}: connect: {why}"
