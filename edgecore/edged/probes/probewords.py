"""How answers of probes and failures of hooks are put into words, as kubelet does. Pure."""

from collections.abc import Sequence
from typing import Final

MAX_CHARS: Final = 900
"""Of what a container or a server said: an event holds 1024 characters."""


def excerpt(output: bytes) -> str:
    """Return what a command or a server said, cut to what suits an event."""
    return output.decode("utf-8", "replace")[:MAX_CHARS]


def go_duration(seconds: float) -> str:
    """Return whole seconds as Go prints a duration: ``1m30s``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def timed_out(command: Sequence[str], timeout_s: float) -> str:
    """Return the words for a command that did not end in time."""
    words = f'command timed out: "{" ".join(command)}" timed out after {go_duration(timeout_s)}'
    return words[:MAX_CHARS]


def join_host_port(host: str, port: int) -> str:
    """Return ``host:port``, with brackets where the host is an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
