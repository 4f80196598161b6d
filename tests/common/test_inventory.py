"""Rows and digests. Everything is real; there is nothing to fake."""

import random

from hypothesis import given
from hypothesis import strategies as st

from common.inventory import Row, content_hash, digest, to_hex

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
ROWS = st.lists(
    st.builds(Row, TEXT, TEXT, TEXT, TEXT, TEXT, st.integers(0, 2**64 - 1)), max_size=20
)
ONE = Row("pod", "default", "web", "u1", "7", 9)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(rows: list[Row], chance: random.Random) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert digest(shuffled) == digest(rows)
    assert 0 <= digest(rows) < 2**64


@given(ROWS)
def test_one_more_or_one_less_is_seen(rows: list[Row]) -> None:
    assert digest([*rows, ONE]) != digest(rows)


@given(st.sampled_from(range(6)), TEXT.filter(bool))
def test_a_change_in_any_column_is_seen(column: int, change: str) -> None:
    columns = list(ONE)
    columns[column] = 10 if column == 5 else f"{columns[column]}{change}"
    assert digest([Row(*columns)]) != digest([ONE])  # type: ignore[arg-type]


def test_what_stands_in_one_column_is_not_taken_for_two() -> None:
    assert digest([Row("a", "bc", "", "", "", 0)]) != digest([Row("ab", "c", "", "", "", 0)])


def test_a_digest_is_the_same_in_every_process_and_version() -> None:
    assert to_hex(digest([ONE])) == "9db45007555a87f0"
    assert to_hex(content_hash(b"{}")) == "01e7b720ff566d53"
    assert digest([]) == 0


@given(st.binary(), st.sampled_from([b"", b" ", b"\n", b"\r\n\t "]))
def test_white_space_around_an_object_is_not_of_its_content(data: bytes, space: bytes) -> None:
    text = b"{" + data + b"}"
    assert content_hash(space + text + space) == content_hash(text)
    assert content_hash(memoryview(text)) == content_hash(text)


def test_hashes_are_sixteen_digits() -> None:
    assert to_hex(0) == "0" * 16
    assert to_hex(2**64 - 1) == "f" * 16
