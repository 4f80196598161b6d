"""Whether a strategic merge patch changes anything. Pure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.edgecontroller.statuspatch import NODE_LISTS, POD_LISTS, is_contained

POD: dict[str, Any] = {
    "metadata": {"name": "web", "uid": "u"},
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True", "lastProbeTime": None},
            {"type": "Initialized", "status": "True"},
        ],
        "podIPs": [{"ip": "192.0.2.1"}],
        "containerStatuses": [{"name": "c", "ready": True}],
    },
}


def status(**fields: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "u"}, "status": fields}


@pytest.mark.parametrize(
    "patch",
    [
        {},
        status(),
        status(phase="Running"),
        status(conditions=[{"type": "Ready", "status": "True"}]),
        status(**{"$setElementOrder/conditions": [{"type": "Initialized"}, {"type": "Ready"}]}),
        status(podIPs=[{"ip": "192.0.2.1"}]),
        status(containerStatuses=[{"name": "c", "ready": True}]),
        status(reason=None),
    ],
)
def test_what_is_there_already_is_contained(patch: dict[str, Any]) -> None:
    assert is_contained(patch, POD, POD_LISTS)


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"uid": "another"}},
        status(phase="Failed"),
        status(phase=None),
        status(reason="Evicted"),
        status(conditions=[{"type": "Ready", "status": "False"}]),
        status(conditions=[{"type": "Ready", "status": "True", "reason": "new"}]),
        status(conditions=[{"type": "ContainersReady", "status": "True"}]),
        status(conditions=[{"status": "True"}]),
        status(conditions=["Ready"]),
        status(conditions=[{"type": "Ready", "$patch": "delete"}]),
        status(conditions=None),
        status(podIPs=[{"ip": "192.0.2.2"}]),
        status(containerStatuses=[{"name": "c"}]),
        status(containerStatuses=[]),
        status(**{"$patch": "replace"}),
        status(**{"$deleteFromPrimitiveList/x": ["y"]}),
        {"status": "text"},
        {"status": {"phase": {"deep": 1}}},
    ],
)
def test_what_is_not_there_or_in_doubt_is_written(patch: dict[str, Any]) -> None:
    assert not is_contained(patch, POD, POD_LISTS)


def test_nodes_merge_other_lists_than_pods() -> None:
    node = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}
    patch = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}
    assert is_contained(patch, node, NODE_LISTS)
    patch["status"]["addresses"][0]["address"] = "192.0.2.2"
    assert not is_contained(patch, node, NODE_LISTS)


def test_a_condition_that_is_there_twice_is_in_doubt() -> None:
    pod = {"status": {"conditions": [{"type": "Ready"}, {"type": "Ready"}]}}
    assert not is_contained({"status": {"conditions": [{"type": "Ready"}]}}, pod, POD_LISTS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.text(max_size=3).filter(lambda name: not name.startswith("$")), json_values, max_size=4
    ),
    st.text(min_size=1, max_size=3),
    json_values,
)
def test_a_patch_that_changes_a_plain_object_is_never_taken_for_nothing(
    current: dict[str, Any], name: str, value: Any
) -> None:
    if isinstance(value, dict):
        return  # merged, not replaced: see the cases above
    applied = {**current, name: value} if value is not None else {**current}
    if value is None:
        applied.pop(name, None)
    if applied != current and current.get(name) != value:
        assert not is_contained({name: value}, current, POD_LISTS)
