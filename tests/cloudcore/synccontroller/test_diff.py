"""The difference between what a node holds and what it should. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.diff import SEND_ORDER, Item, diff
from common.names import UID, Operation, ResourceType

types = st.sampled_from([ResourceType(one) for one in SEND_ORDER])
items = st.builds(
    Item,
    types,
    st.builds(ObjectKey, st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"])),
    st.sampled_from(["u1", "u2"]).map(UID),
    st.sampled_from(["1", "2"]),
    st.sampled_from([7, 8]),
)
sets = st.lists(items, unique_by=lambda one: (one.resource_type, one.key))


def item(resource_type: ResourceType, uid: str = "u", version: str = "1") -> Item:
    return Item(resource_type, ObjectKey("a", "x"), UID(uid), version)


@given(sets, sets)
def test_what_it_says_makes_the_one_into_the_other(held: list[Item], wanted: list[Item]) -> None:
    difference = diff(held, wanted)
    result = {(one.resource_type, one.key): one for one in held}
    for one in difference.gone:
        assert result.pop((one.resource_type, one.key)) == one
    for operation, one in difference.send:
        name = (one.resource_type, one.key)
        if operation is Operation.INSERT:
            assert name not in result
        result[name] = one
    kept = [one for one in held if one.resource_type is ResourceType.NODE]
    assert result == {(one.resource_type, one.key): one for one in [*kept, *wanted]}


@given(sets)
def test_nothing_is_said_where_all_is_the_same(held: list[Item]) -> None:
    difference = diff(held, held)
    assert (difference.gone, difference.send) == ((), ())


@given(sets, sets)
def test_names_come_before_the_pods_that_name_them_and_go_after(
    held: list[Item], wanted: list[Item]
) -> None:
    difference = diff(held, wanted)
    sent = [SEND_ORDER[one.resource_type] for _, one in difference.send]
    gone = [SEND_ORDER[one.resource_type] for one in difference.gone]
    assert sent == sorted(sent)
    assert gone == sorted(gone, reverse=True)


@pytest.mark.parametrize(
    ("held", "wanted", "gone", "operation"),
    [
        ([], ResourceType.POD, 0, Operation.INSERT),
        ([], ResourceType.SECRET, 0, Operation.UPDATE),
        ([], ResourceType.NODE, 0, Operation.UPDATE),
        ([item(ResourceType.POD, version="9")], ResourceType.POD, 0, Operation.UPDATE),
        ([item(ResourceType.POD, uid="old")], ResourceType.POD, 1, Operation.INSERT),
        ([item(ResourceType.NODE, uid="old")], ResourceType.NODE, 0, Operation.UPDATE),
    ],
)
def test_operations_are_those_of_the_wire(
    held: list[Item], wanted: ResourceType, gone: int, operation: Operation
) -> None:
    difference = diff(held, [item(wanted)])
    assert len(difference.gone) == gone
    assert difference.send == ((operation, item(wanted)),)


def test_a_lower_version_is_a_difference_as_well() -> None:
    held, wanted = item(ResourceType.POD, version="9"), item(ResourceType.POD, version="3")
    assert diff([held], [wanted]).send == ((Operation.UPDATE, wanted),)


def test_another_content_of_the_same_version_is_a_difference_where_both_are_known() -> None:
    held = item(ResourceType.POD)
    for mine, theirs, count in ((1, 1, 0), (1, 2, 1), (1, None, 0), (None, 2, 0), (None, None, 0)):
        wanted = held._replace(content=theirs)
        assert len(diff([held._replace(content=mine)], [wanted]).send) == count
        assert diff([held._replace(content=mine)], [wanted]).gone == ()


def test_a_node_is_never_taken_from_an_edge() -> None:
    assert diff([item(ResourceType.NODE)], []).gone == ()
