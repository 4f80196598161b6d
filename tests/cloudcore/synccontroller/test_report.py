"""The content of an inventory. Pure."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.diff import Item
from cloudcore.synccontroller.report import MAX_PODS, MAX_ROWS, parse_hash, parse_report
from common.errors import RemoteError
from common.inventory import to_hex
from common.names import UID, ResourceType

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_a_digest_comes_alone() -> None:
    report = parse_report({"digest": "00000000000000ff", "count": 3, "newest": {"pod": "7"}})
    assert (report.digest, report.held, report.newest) == (255, (), {"pod": "7"})


@pytest.mark.parametrize(("rest", "content"), [([], None), (["00000000000000ff"], 255)])
def test_rows_come_with_and_without_a_hash(rest: list[str], content: int | None) -> None:
    rows = [
        ["pod", "default", "web", "u1", "7", *rest],
        ["node", "null", "n1", "u2", "8", *rest],
        ["device", "default", "x", "u3", "9", *rest],
    ]
    report = parse_report({"objects": rows})
    assert report.digest is None
    assert report.held == (
        Item(ResourceType.POD, ObjectKey("default", "web"), UID("u1"), "7", content),
        Item(ResourceType.NODE, ObjectKey("", "n1"), UID("u2"), "8", content),
    )


def test_where_it_is_not_said_the_highest_versions_are_those_of_what_is_held() -> None:
    rows = [
        ["pod", "a", "x", "u1", "9"],
        ["pod", "a", "y", "u2", "10"],
        ["node", "null", "n", "", ""],
    ]
    assert parse_report({"objects": rows}).newest == {"pod": "10", "node": "0"}
    said = {"pod": "12"}
    assert parse_report({"objects": rows, "newest": said}).newest == said


def test_as_many_come_as_a_node_could_have() -> None:
    pods = [["pod", "a", str(number), "u", "1"] for number in range(MAX_PODS)]
    others = [["service", "a", str(number), "u", "1"] for number in range(MAX_ROWS - MAX_PODS)]
    report = parse_report({"objects": pods + others, "newest": {"pod": str(2**63 - 1)}})
    assert len(report.held) == MAX_ROWS


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        {"digest": "ff"},
        {"digest": "zz000000000000ff"},
        {"digest": "+0000000000000ff"},
        {"digest": 7},
        {"objects": 7},
        {"objects": [["pod"]]},
        {"objects": [["pod", "a", "b", "u", "1", "ff"]]},
        {"objects": [["pod", "a", "b", "u", "1", "00000000000000ff", "more"]]},
        {"objects": [[1, 2, 3, 4, 5]]},
        {"objects": [["pod", "a", "", "u", "1"]]},
        {"objects": [["pod", "a", "b", "u", "1" * 5000]]},
        {"objects": [], "newest": {"pod": 7}},
        {"objects": [], "newest": {"pod": "1" * 5000}},
        {"objects": [["pod", "a", str(number), "u", "1"] for number in range(MAX_PODS + 1)]},
        {"objects": [["service", "a", str(number), "u", "1"] for number in range(MAX_ROWS + 1)]},
    ],
    ids=lambda content: str(content)[:60],
)
def test_anything_else_is_refused(content: Any) -> None:
    with pytest.raises(RemoteError) as refused:
        parse_report(content)
    assert refused.value.status.code == 422


@given(st.dictionaries(st.sampled_from(["objects", "digest", "newest"]), json_values) | json_values)
def test_whatever_comes_it_is_a_report_or_refused(content: Any) -> None:
    with contextlib.suppress(RemoteError):
        parse_report(content)


@given(st.integers(0, 2**64 - 1))
def test_a_hash_is_what_stands_in_json(number: int) -> None:
    assert parse_hash(to_hex(number)) == number


@pytest.mark.parametrize(
    ("content", "knows"),
    [
        ({"digest": "0" * 16, "newest": {}}, False),
        ({"objects": []}, False),
        ({"digest": "0" * 16, "newest": {"pod": "7"}}, True),
        ({"objects": [["pod", "a", "b", "u", "1"]]}, True),
    ],
)
def test_an_edge_that_was_never_told_anything_is_known_by_its_report(
    content: Any, *, knows: bool
) -> None:
    assert parse_report(content).knows_anything is knows
