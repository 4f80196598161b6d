"""Lines out of chunks. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.kube.lines import LineSplitter
from common.errors import RemoteError


@given(
    st.lists(st.binary().map(lambda line: line.replace(b"\n", b""))),
    st.lists(st.integers(min_value=1, max_value=7), min_size=1),
)
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found, turn = LineSplitter(1 << 20), list[bytes](), 0
    while stream:
        size = sizes[turn % len(sizes)]
        found += splitter.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert found == [line for line in lines if line]


def test_a_line_that_has_not_ended_is_kept() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"ab") == []
    assert splitter.feed(b"c\nd") == [b"abc"]
    assert splitter.feed(b"\n\n") == [b"d"]


@pytest.mark.parametrize(
    "chunks", [[b"12345678901"], [b"123456\n12345678901\n"], [b"123456", b"78901\n"]]
)
def test_a_line_that_is_too_long_is_refused(chunks: list[bytes]) -> None:
    splitter = LineSplitter(10)
    with pytest.raises(RemoteError, match="413"):
        list(map(splitter.feed, chunks))
