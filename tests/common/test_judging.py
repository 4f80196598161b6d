"""What may stand for an option, and what is said where something else does. All is real."""

from contextlib import suppress
from enum import StrEnum
from math import inf, nan
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.judging import expected, judge, schema
from common.settings import Between, Check, FromText, Option, with_commas


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def even(value: int) -> None:
    if value % 2:
        raise ValueError(f"{value} is odd")


def option(kind: Any, *, is_required: bool = False) -> Option:
    return Option(
        "sample", kind, "What it is for.", is_secret=False, is_required=is_required, default=None
    )


Texts = Annotated[tuple[str, ...], FromText(with_commas), Between(1)]
Labels = dict[str, str]
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        (int, "5", 5),
        (int, " 5 ", 5),
        (int, 5, 5),
        (float, "5", 5.0),
        (float, 5, 5.0),
        (bool, "Yes", True),
        (bool, "off", False),
        (bool, True, True),
        (str, "5", "5"),
        (Path, "/a", Path("/a")),
        (Path | None, "/a", Path("/a")),
        (Path | None, None, None),
        (Colour, "red", Colour.RED),
        (Literal["a", "b"], "b", "b"),
        (Texts, " a, b,", ("a", "b")),
        (Texts, ["a,b"], ("a,b",)),
        (frozenset[Colour], ["red", "red"], frozenset({Colour.RED})),
        (Labels, {"a": "b"}, {"a": "b"}),
        (Annotated[int, Between(1, 9), Check(even)], "8", 8),
    ],
)
def test_what_is_written_becomes_what_is_meant(kind: Any, written: object, meant: object) -> None:
    judged = judge(option(kind), written)
    assert judged == meant
    assert type(judged) is type(meant)


@pytest.mark.parametrize(
    ("kind", "written", "words"),
    [
        (int, "five", "expected a whole number"),
        (int, "5.5", "expected a whole number"),
        (int, True, "expected a whole number"),
        (Annotated[int, Between(1, 65535)], "0", "expected a whole number from 1 to 65535"),
        (Annotated[float, Between(0, 600)], nan, "expected a number from 0 to 600"),
        (Annotated[float, Between(0)], -inf, "expected a number from 0"),
        (Annotated[float, Between(0.5, 10_000_000)], 0, "expected a number from 0.5 to 10000000"),
        (bool, "perhaps", "expected true or false"),
        (bool, 2, "expected true or false"),
        (str, 5, "expected a text"),
        (Annotated[str, Between(1)], "", "expected a text, not empty"),
        (Path, 5, "expected a path"),
        (Path | None, [], "expected a path"),
        (Colour, "green", "expected one of red, blue"),
        (Literal["a", "b"], "c", "expected one of a, b"),
        (Texts, ",", "expected a list, each a text, not empty"),
        (Texts, [5], "expected a list, each a text, not empty"),
        (Labels, {"a": 5}, "expected a mapping, each a text"),
        (Annotated[int, Check(even)], "7", "7 is odd"),
    ],
)
def test_something_else_is_refused_with_what_is_expected(
    kind: Any, written: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        judge(option(kind), written)
    assert str(caught.value) == words


WHATEVER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from([int, float, bool, str, Path | None, Colour, Texts, Labels]), WHATEVER)
def test_whatever_stands_in_a_file_is_taken_or_refused(kind: Any, written: object) -> None:
    with suppress(ValueError):
        judge(option(kind), written)


def test_the_schema_says_the_same_to_editors() -> None:
    made = schema([option(Annotated[int, Between(1, 9)], is_required=True)])
    assert made["required"] == ["sample"]
    assert made["additionalProperties"] is False
    assert made["properties"] == {
        "sample": {
            "type": "integer",
            "minimum": 1,
            "maximum": 9,
            "description": "What it is for.",
        }
    }


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Colour, {"enum": ["blue", "red"]}),
        (Annotated[str, Between(1)], {"type": "string", "minLength": 1}),
        (Annotated[tuple[str, ...], Between(1)], {"type": "array", "minItems": 1}),
        (Annotated[float, Between(1)], {"type": "number", "minimum": 1}),
        (Path, {"type": "string"}),
        (Annotated[Labels, FromText(str.split)], {"anyOf": [LABELS, {"type": "string"}]}),
        (Annotated[int, Check(even)], {"type": "integer"}),
    ],
)
def test_each_kind_has_its_schema(kind: Any, wanted: dict[str, object]) -> None:
    properties: Any = schema([option(kind)])["properties"]
    assert wanted.items() <= properties["sample"].items()


def test_what_may_be_one_text_too_is_told_so() -> None:
    properties: Any = schema([option(Texts), option(Path | None)])["properties"]
    assert "anyOf" in properties["sample"]


def test_the_words_of_what_may_be_left_out_do_not_name_nothing() -> None:
    assert expected(option(Path | None)) == "a path"
