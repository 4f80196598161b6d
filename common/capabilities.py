"""What a peer of our own protocol can do beyond its first version, agreed on when it connects.

The edge names its own in a header of the request to connect; the response names those that hold for
the connection, which are the ones that both have. A peer of the first version sends no such header,
and has none. Pure.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

HEADER: Final = "Cloudedge-Capabilities"
"""Words with commas and spaces between; unknown ones are passed over."""


class Capability(StrEnum):
    """One word in the header."""

    ACKS = "acks"
    """One ``response`` may acknowledge several messages: content ``{"acked": [msg_id, ...]}``."""

    BEATS = "beats"
    """Keepalives are binary, answered, and carry the renewal of the lease."""

    DEFLATE = "deflate"
    """Messages may be compressed."""

    CHUNKS = "chunks"
    """Large contents come in parts."""

    DIGEST = "digest"
    """An inventory may be a digest, its rows have content hashes, beats may carry the digest, and
    the cloud may ask for an inventory."""


Capabilities = frozenset[Capability]

NONE: Final[Capabilities] = frozenset()
ALL: Final[Capabilities] = frozenset(Capability)


_NO_WORD: Final = "none"


def parse(header: str | None) -> Capabilities:
    """Return what a header names, as far as it is known here; nothing where there is none."""
    words = {word.strip() for word in (header or "").split(",")}
    return frozenset(one for one in Capability if one.value in words)


def agree(own: Capabilities, headers: Sequence[str]) -> Capabilities:
    """Return what holds for a connection: what of ``own`` the peer's headers name too."""
    both = own & parse(",".join(headers))
    return own if both == own else both  # the same set for nearly all connections: 1.4 KiB each


def choose(words: str) -> Capabilities:
    """Return what an option names: words with commas between, or ``none``.

    Raises:
        ValueError: a word is not known; the text says which are.
    """
    chosen = {word.strip() for word in words.split(",")}
    if chosen == {_NO_WORD}:
        return NONE
    if unknown := sorted(chosen - set(Capability)):
        known = ", ".join(sorted(Capability))
        raise ValueError(f"{unknown[0]!r} is none of {known}, nor {_NO_WORD}")
    return parse(words)


def render(capabilities: Iterable[Capability]) -> str:
    """Return the header's value."""
    return ", ".join(sorted(capabilities))
