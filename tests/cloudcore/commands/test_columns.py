"""Rows as people read them, and as programs do. Pure."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from cloudcore.commands.columns import lay_out, to_json

WORDS = st.text("abc-", max_size=9)


def test_columns_are_as_wide_as_they_need() -> None:
    assert lay_out(("NAME", "FOR"), [("a-long-name", "any"), ("b", "")]) == (
        "NAME          FOR\na-long-name   any\nb             -"
    )


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=5))
def test_every_row_has_a_word_for_each_column(rows: list[tuple[str, str, str]]) -> None:
    lines = lay_out(("A", "B", "C"), rows).splitlines()
    assert [line.split() for line in lines[1:]] == [[cell or "-" for cell in row] for row in rows]
    assert lines[0].split() == ["A", "B", "C"]


def test_json_is_a_list_that_programs_read() -> None:
    text = to_json([{"a": datetime(2026, 11, 24, tzinfo=UTC), "b": None}])
    assert json.loads(text) == [{"a": "2026-11-24T00:00:00Z", "b": None}]
    assert "\n" in text
    assert to_json([]) == "[]"
