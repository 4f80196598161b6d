"""Patches of status: pure; ``world.merge`` stands in for the API server."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.strategic import diff, patch_text
from tests.edgecore.edged.world import merge


def test_what_agrees_needs_no_patch() -> None:
    assert diff({"a": 1, "theirs": 2}, {"a": 1}) == {}


def test_a_changed_condition_is_patched_alone_and_loses_what_it_had() -> None:
    before = {
        "conditions": [
            {"type": "A", "status": "True"},
            {"type": "B", "status": "False", "reason": "R", "message": "m"},
            {"type": "Theirs", "status": "True"},
        ]
    }
    after = {
        "conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}],
    }
    assert diff(before, after) == {
        "$setElementOrder/conditions": [{"type": "A"}, {"type": "B"}, {"type": "Theirs"}],
        "conditions": [{"type": "B", "status": "True", "reason": None, "message": None}],
    }


def test_the_first_conditions_need_no_order() -> None:
    after = {"conditions": [{"type": "A", "status": "True"}]}
    assert diff({}, after) == after


def test_an_address_that_is_not_ours_any_more_is_deleted() -> None:
    patch = diff({"podIPs": [{"ip": "1"}]}, {"podIPs": [{"ip": "2"}]})
    assert patch == {
        "$setElementOrder/podIPs": [{"ip": "2"}],
        "podIPs": [{"ip": "2"}, {"$patch": "delete", "ip": "1"}],
    }


def test_fields_of_container_statuses_that_we_never_set_are_no_difference() -> None:
    have = {"containerStatuses": [{"name": "c", "ready": True, "resources": {"x": 1}}]}
    assert diff(have, {"containerStatuses": [{"name": "c", "ready": True}]}) == {}
    wanted = {"containerStatuses": [{"name": "c", "ready": False}]}
    assert diff(have, wanted) == wanted
    assert diff(have, {"containerStatuses": []}) == {"containerStatuses": []}


def test_the_text_is_the_same_for_the_same_patch() -> None:
    assert patch_text({"b": 1, "a": 2}) == patch_text({"a": 2, "b": 1}) == '{"a":2,"b":1}'


conditions = st.dictionaries(
    st.sampled_from("ABCD"),
    st.fixed_dictionaries(
        {"status": st.sampled_from(["True", "False"])},
        optional={"reason": st.sampled_from("xy"), "message": st.sampled_from("pq")},
    ),
).map(lambda table: [{"type": kind, **fields} for kind, fields in table.items()])
statuses = st.fixed_dictionaries(
    {"conditions": conditions},
    optional={
        "phase": st.sampled_from(["Pending", "Running"]),
        "podIPs": st.lists(st.sampled_from("12"), unique=True).map(
            lambda ips: [{"ip": ip} for ip in ips]
        ),
        "containerStatuses": st.lists(st.fixed_dictionaries({"name": st.sampled_from("cd")})),
        "capacity": st.dictionaries(st.sampled_from(["cpu", "memory"]), st.sampled_from("12")),
    },
)


@given(statuses, statuses)
def test_after_the_patch_nothing_differs(have: dict[str, Any], want: dict[str, Any]) -> None:
    patch = json.loads(patch_text(diff(have, want)))
    assert diff(merge(have, patch), want) == {}
