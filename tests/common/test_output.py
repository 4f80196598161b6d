"""What commands print. Pure."""

import json
import re
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.output import (
    OutputFormat,
    Tone,
    has_colours,
    lay_out,
    printable,
    render,
    to_json,
    to_yaml,
)

WORDS = st.text("abc-", max_size=9)
SHOWN = [{"node": "a", "until": datetime(2026, 11, 24, tzinfo=UTC), "backlog": 0, "ready": None}]
READ = [{"node": "a", "until": "2026-11-24T00:00:00Z", "backlog": 0, "ready": None}]


def test_columns_are_as_wide_as_they_need() -> None:
    assert lay_out(("NAME", "FOR"), [("a-long-name", "any"), ("b", "")]) == (
        "NAME          FOR\na-long-name   any\nb             -"
    )


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=5))
def test_every_row_has_a_word_for_each_column(rows: list[tuple[str, str, str]]) -> None:
    lines = lay_out(("A", "B", "C"), rows).splitlines()
    assert [line.split() for line in lines[1:]] == [[cell or "-" for cell in row] for row in rows]
    assert lines[0].split() == ["A", "B", "C"]


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_colours_change_nothing_but_the_colour(rows: list[tuple[str, str]]) -> None:
    tones = {rows[0][0]: Tone.BAD, rows[0][1]: Tone.GOOD}
    coloured = lay_out(("A", "B"), rows, tones)
    assert re.sub("\x1b\\[[0-9]+m", "", coloured) == lay_out(("A", "B"), rows)


def test_a_cell_that_is_a_word_with_a_tone_is_coloured_and_others_are_not() -> None:
    shown = lay_out(("A", "B"), [("FAIL", "FAILED")], {"FAIL": Tone.BAD})
    assert shown == "A      B\n\x1b[31mFAIL\x1b[0m   FAILED"


def test_what_others_have_written_commands_no_terminal() -> None:
    assert printable("\x1b[2Ja\r\nb\u202e") == "?[2Ja??b?"
    assert "\x1b" not in lay_out(("A",), [("\x1b[31m",)])


@pytest.mark.parametrize(
    ("environ", "is_terminal", "expected"),
    [
        ({}, True, True),
        ({"NO_COLOR": ""}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm"}, False, False),
    ],
)
def test_colours_are_for_terminals_and_those_who_want_them(
    *, environ: dict[str, str], is_terminal: bool, expected: bool
) -> None:
    assert has_colours(environ, is_terminal=is_terminal) is expected


def test_json_and_yaml_say_the_same() -> None:
    assert json.loads(to_json(SHOWN)) == READ
    assert "\n" in to_json(SHOWN)
    assert yaml.safe_load(to_yaml(SHOWN)) == READ
    assert to_yaml([{"b": 1, "a": 2}]) == "- b: 1\n  a: 2"
    assert (to_json([]), to_yaml([])) == ("[]", "[]")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (OutputFormat.TABLE, "for people"),
        (OutputFormat.JSON, '{\n  "a": 1\n}'),
        (OutputFormat.YAML, "a: 1"),
    ],
)
def test_what_was_asked_for_is_printed(output: OutputFormat, expected: str) -> None:
    assert render(output, {"a": 1}, lambda: "for people") == expected
