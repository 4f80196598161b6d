"""Inputs that are like others: what a target knows to read, with something wrong about it."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

MAX_BYTES: Final = 64 * 1024

_WORDS: Final = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b"\r\n", b"\r\n\r\n", b"..", b"/", b"%00", b"-1",
    b"99999999999999999999", b"1e999", b"NaN", b"null", b"true", b'""', b"{}", b"[]", b"[", b"{",
    b'{"":', b"&a ", b"*a", b"!!python/object:os.system ", b"!!timestamp ", b"2026-99-99",
    b"0x", b"1:99:99", b"<<: ", b"---\n", b"? ", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n", b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n", b"NodeName: edge-1\r\n", b"Authorization: Bearer x.y.z\r\n",
)  # fmt: skip
_REPEATS: Final = (2, 64, 1000, 20_000)


def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Return something like one of ``seeds``, or like two of them."""
    data = random.choice(seeds) if seeds else b""
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        data = random.choice(_MUTATIONS)(random, data, random.choice(seeds) if seeds else b"")
    return data[:MAX_BYTES]


def _flip(random: Random, data: bytes, _: bytes) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _cut(random: Random, data: bytes, _: bytes) -> bytes:
    begin, end = _span(random, data)
    return data[:begin] + data[end:]


def _repeat(random: Random, data: bytes, _: bytes) -> bytes:
    begin, end = _span(random, data)
    end = min(end, begin + random.choice((1, 2, 8, 64)))
    return data[:begin] + data[begin:end] * random.choice(_REPEATS) + data[end:]


def _put(random: Random, data: bytes, _: bytes) -> bytes:
    begin, end = _span(random, data)
    end = random.choice((begin, end))
    word = random.choice(_WORDS) * random.choice((1, 1, 1, 3, 2000))
    return data[:begin] + word + data[end:]


def _splice(random: Random, data: bytes, other: bytes) -> bytes:
    begin, end = _span(random, other)
    at = random.randint(0, len(data))
    return data[:at] + other[begin:end] + data[at:]


def _noise(random: Random, data: bytes, _: bytes) -> bytes:
    begin, end = _span(random, data)
    return data[:begin] + random.randbytes(random.choice((1, 4, 32))) + data[end:]


def _span(random: Random, data: bytes) -> tuple[int, int]:
    begin = random.randint(0, len(data))
    return begin, min(len(data), begin + random.choice((0, 1, 4, 16, 256)))


_MUTATIONS: Final[Sequence[Callable[[Random, bytes, bytes], bytes]]] = (
    _flip,
    _cut,
    _repeat,
    _put,
    _splice,
    _noise,
)
