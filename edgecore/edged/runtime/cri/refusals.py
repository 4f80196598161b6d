"""What an engine's refusal is called in a pod's status. Pure."""

import re
from typing import Final

from grpclib.const import Status

from common.errors import RuntimeServiceError
from edgecore.edged.runtime.cri.methods import PULL_IMAGE, UNAVAILABLE

_WORDS: Final = 1024
"""Longest message, in characters: it stands in statuses and events."""

_PULL_REASONS: Final = ("RegistryUnavailable", "SignatureValidationFailed")
_INVALID_REFERENCE: Final = ("invalid reference format", "failed to parse image reference")
_STARTING: Final = "server is not initialized yet"
"""A containerd that takes calls before it knows what runs says so with the status UNKNOWN."""

_HOLDERS: Final = (
    re.compile(r'is reserved for "?([0-9a-f]{12,64})"?'),  # containerd
    re.compile(r"(?:in use by|reserved for ID) ([0-9a-f]{12,64})", re.IGNORECASE),  # CRI-O
)


class EngineError(RuntimeServiceError):
    """The engine refused, or did not answer; ``status`` is why, as gRPC has it."""

    def __init__(self, reason: str, message: str, status: Status) -> None:
        super().__init__(reason, _cut(message) or status.name)
        self.status = status


def refusal(reason: str, status: Status, message: str) -> EngineError:
    """Return the error for an answer other than OK.

    Args:
        reason: what an error of this call is called, unless the answer has a better word.
        status: of the answer.
        message: the engine's words.
    """
    if any(sign in message for sign in _INVALID_REFERENCE):
        reason = "InvalidImageName"
    elif reason == PULL_IMAGE.reason:
        # An engine says UNAVAILABLE of a registry too, so that status tells nothing here.
        reason = next((word for word in _PULL_REASONS if message.startswith(word)), reason)
    elif status is Status.UNAVAILABLE or _STARTING in message:
        reason = UNAVAILABLE
    return EngineError(reason, message, status)


def unanswered(why: str) -> EngineError:
    """Return the error for an engine that cannot be reached, or went away during the call."""
    return EngineError(UNAVAILABLE, f"the container runtime cannot be reached: {why}", _AWAY)


def late(reason: str, timeout_s: float | None) -> EngineError:
    """Return the error for a call that took too long."""
    return EngineError(reason, f"the container runtime did not answer within {timeout_s} s", _LATE)


def holder_of(error: EngineError) -> str | None:
    """Return the id of the sandbox or container that has the wanted name, if that is the trouble.

    A call that was cut off may have made it after all.
    """
    for pattern in _HOLDERS:
        if found := pattern.search(str(error)):
            return found[1]
    return None


_AWAY: Final = Status.UNAVAILABLE
_LATE: Final = Status.DEADLINE_EXCEEDED


def _cut(message: str) -> str:
    return message if len(message) <= _WORDS else f"{message[: _WORDS - 1]}…"
