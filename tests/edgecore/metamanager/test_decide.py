"""What is done with what the cloud sends. Everything is real; there is nothing to fake.

The properties run histories as an API server makes them: the versions of one name only grow, over
deletions and new owners of the name too.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.beehive.message import Message
from common.names import Operation
from common.wire import loads
from edgecore.edgestore.records import Bury, Exhume, Index, Put, Tombstone
from edgecore.metamanager.decide import Outcome, Plan, decide, decide_answer
from edgecore.metamanager.needs import PodNeeds
from tests.edgecore.metamanager.messages import (
    CONFIGMAP,
    POD,
    carrying,
    delete,
    insert,
    message,
    naming,
    of_inventory,
    update,
)


class At(NamedTuple):
    """Which object has a key, whatever its content."""

    uid: str
    version: int


class Edge:
    """A store that is only an index, and what edged was told."""

    def __init__(self) -> None:
        self.index = Index()
        self.pods: dict[str, PodNeeds] = {}
        self.told: list[tuple[str, str, str]] = []  # operation, resource, uid

    def receive(self, *messages: Message) -> Plan:
        plan = decide(messages, self.index, self.pods)
        for write in plan.writes:
            self.index.note(write)
        for key, needs in plan.pods.items():
            if needs is None:
                self.pods.pop(key, None)
            else:
                self.pods[key] = needs
        for told in plan.forwards:
            uid = loads(told.data())["metadata"].get("uid", "")
            self.told.append((told.operation.value, told.resource, uid))
        return plan

    def stored(self) -> dict[str, At]:
        return {key: At(entry.uid, entry.version) for key, entry in self.index.entries.items()}


def test_what_arrives_is_stored_and_passed_on() -> None:
    edge = Edge()
    sent = insert(uid="u1", version=5)
    plan = edge.receive(sent)
    assert plan.outcomes == (Outcome.KEPT,)
    assert plan.forwards == (sent,)
    (put,) = plan.writes
    assert isinstance(put, Put)
    assert put.stored.value == bytes(sent.content)


def test_a_stale_update_is_not_saved() -> None:
    edge = Edge()
    edge.receive(insert(version=5))
    plan = edge.receive(update(version=4), update(version=5))
    assert plan.outcomes == (Outcome.STALE, Outcome.STALE)
    assert (plan.writes, plan.forwards) == ((), ())
    assert edge.stored() == {CONFIGMAP: At("u1", 5)}


def test_versions_are_compared_as_numbers() -> None:
    edge = Edge()
    edge.receive(insert(version=99))
    edge.receive(update(version=100))
    assert edge.stored() == {CONFIGMAP: At("u1", 100)}


def test_the_version_may_stand_in_the_header_only() -> None:
    edge = Edge()
    edge.receive(carrying(Operation.UPDATE, CONFIGMAP, {"metadata": {"uid": "u1"}}, 7))
    assert edge.stored() == {CONFIGMAP: At("u1", 7)}


def test_nothing_deleted_comes_back_by_a_late_message() -> None:
    edge = Edge()
    edge.receive(insert(version=5), delete(version=8))
    plan = edge.receive(update(version=7), insert(version=5))
    assert plan.outcomes == (Outcome.STALE, Outcome.STALE)
    assert edge.stored() == {}


def test_nothing_deleted_without_a_version_comes_back_at_all() -> None:
    edge = Edge()
    edge.receive(insert(version=5), delete(version=0))
    assert edge.receive(update(version=900)).outcomes == (Outcome.STALE,)
    assert edge.stored() == {}


def test_a_deletion_may_come_before_what_it_deletes() -> None:
    edge = Edge()
    assert edge.receive(delete(version=8)).forwards == ()
    assert edge.receive(insert(version=5)).outcomes == (Outcome.STALE,)
    assert edge.stored() == {}


def test_a_deletion_of_an_old_owner_spares_the_new_one_of_the_name() -> None:
    edge = Edge()
    edge.receive(insert(POD, uid="new", version=9))
    for late in (delete(POD, uid="old", version=7), delete(POD, uid="old", version=0)):
        assert edge.receive(late).forwards == ()
    assert edge.stored() == {POD: At("new", 9)}


def test_a_deletion_of_a_later_owner_ends_the_one_that_is_stored() -> None:
    edge = Edge()
    edge.receive(insert(POD, uid="old", version=3))
    edge.receive(delete(POD, uid="new", version=9))
    assert edge.told[1:] == [("delete", POD, "old")]
    assert edge.receive(update(POD, uid="old", version=4)).outcomes == (Outcome.STALE,)
    assert edge.stored() == {}


def test_a_new_owner_of_a_name_starts_after_the_old_one_was_ended() -> None:
    edge = Edge()
    edge.receive(insert(POD, uid="old", version=3))
    edge.receive(insert(POD, uid="new", version=9))
    assert edge.told[1:] == [("delete", POD, "old"), ("insert", POD, "new")]
    assert edge.receive(update(POD, uid="old", version=4)).outcomes == (Outcome.STALE,)
    assert edge.stored() == {POD: At("new", 9)}


def test_a_deletion_without_a_uid_is_of_what_has_the_name() -> None:
    edge = Edge()
    edge.receive(insert(POD, uid="u1", version=3))
    plan = edge.receive(delete(POD, uid="", version=0))
    assert plan.outcomes == (Outcome.DELETED,)
    assert edge.told[-1] == ("delete", POD, "u1")
    assert edge.receive(update(POD, uid="u1", version=4)).outcomes == (Outcome.STALE,)
    assert edge.stored() == {}


def test_a_deletion_without_content_is_of_what_has_the_name() -> None:
    edge = Edge()
    edge.receive(insert(version=3))
    assert edge.receive(carrying(Operation.DELETE, CONFIGMAP, None)).outcomes == (Outcome.DELETED,)
    assert edge.stored() == {}


def test_a_late_deletion_without_a_uid_spares_what_is_newer() -> None:
    edge = Edge()
    edge.receive(insert(version=9))
    assert edge.receive(delete(uid="", version=5)).outcomes == (Outcome.STALE,)
    assert edge.stored() == {CONFIGMAP: At("u1", 9)}


def test_unknown_types_are_stored_and_acknowledged_and_nobody_is_told() -> None:
    edge = Edge()
    plan = edge.receive(insert("default/device/lamp", version=3))
    assert (plan.outcomes, plan.forwards) == ((Outcome.KEPT,), ())
    assert edge.stored() == {"default/device/lamp": At("u1", 3)}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "no JSON",
        {},
        {"metadata": None},
        {"metadata": {"uid": 7}},
        {"metadata": {"resourceVersion": "x"}},
        {"metadata": {"resourceVersion": str(2**63)}},
        {"metadata": {"resourceVersion": "٣"}},
    ],
)
def test_what_is_no_object_is_not_stored(value: object) -> None:
    edge = Edge()
    plan = edge.receive(carrying(Operation.UPDATE, CONFIGMAP, value))
    assert plan.outcomes == (Outcome.INVALID,)
    assert (plan.writes, plan.forwards) == ((), ())


@pytest.mark.parametrize("resource", ["", "default/pod", "a/b/c/d", "default//web"])
def test_what_has_no_name_is_not_stored(resource: str) -> None:
    plan = Edge().receive(carrying(Operation.INSERT, resource, {"metadata": {"uid": "u"}}, 1))
    assert (plan.outcomes, plan.writes) == ((Outcome.INVALID,), ())


def test_a_verb_that_means_nothing_here_stores_nothing() -> None:
    plan = Edge().receive(message(Operation.PATCH))
    assert (plan.outcomes, plan.writes) == ((Outcome.UNSUPPORTED,), ())


def test_content_may_be_a_string_of_json() -> None:
    edge = Edge()
    edge.receive(carrying(Operation.UPDATE, CONFIGMAP, '{"metadata":{"uid":"u1"}}', 2))
    assert edge.stored() == {CONFIGMAP: At("u1", 2)}


def test_a_configmap_goes_with_the_last_pod_that_names_it() -> None:
    edge = Edge()
    edge.receive(
        insert(CONFIGMAP, uid="c"),
        insert("default/secret/db", uid="s"),
        insert(POD, uid="p1", version=2, spec=naming("web", secrets=("db",))),
        insert("default/pod/other", uid="p2", version=3, spec=naming("web")),
    )
    edge.receive(delete(POD, uid="p1", version=4))
    assert set(edge.stored()) == {CONFIGMAP, "default/pod/other"}
    edge.receive(delete("default/pod/other", uid="p2", version=5))
    assert edge.stored() == {}
    # It has not ended: the next pod that names it gets it again, in the same version.
    assert edge.receive(update(CONFIGMAP, uid="c")).outcomes == (Outcome.KEPT,)


def test_the_answer_to_an_inventory_holds_though_its_version_is_lower() -> None:
    edge = Edge()
    edge.receive(insert(POD, uid="u1", version=90), insert(uid="c", version=91), delete(uid="c"))
    edge.receive(
        of_inventory(update(POD, uid="u1", version=50)),
        of_inventory(insert(uid="c", version=40)),
    )
    assert edge.stored() == {POD: At("u1", 50), CONFIGMAP: At("c", 40)}
    edge.receive(update(POD, uid="u1", version=51), update(uid="c", version=41))
    assert edge.stored() == {POD: At("u1", 51), CONFIGMAP: At("c", 41)}


def test_the_answer_to_an_inventory_may_name_another_owner_with_a_lower_version() -> None:
    edge = Edge()
    edge.receive(insert(POD, uid="new", version=90))
    edge.receive(of_inventory(insert(POD, uid="old", version=50)))
    assert edge.told[1:] == [("delete", POD, "new"), ("insert", POD, "old")]
    assert edge.receive(update(POD, uid="new", version=91)).outcomes == (Outcome.STALE,)
    edge.receive(update(POD, uid="old", version=51))
    assert edge.stored() == {POD: At("old", 51)}


def test_the_answer_to_an_inventory_may_bring_another_content_of_the_same_version() -> None:
    edge = Edge()
    edge.receive(insert(version=5, data={"a": "1"}))
    assert edge.receive(update(version=5, data={"a": "2"})).outcomes == (Outcome.STALE,)
    other = of_inventory(update(version=5, data={"a": "2"}))
    plan = edge.receive(other)
    assert (plan.outcomes, plan.forwards) == ((Outcome.KEPT,), (other,))
    assert edge.receive(other).outcomes == (Outcome.STALE,)


def test_what_an_inventory_takes_away_can_be_asked_for_again() -> None:
    edge = Edge()
    edge.receive(insert(uid="c", version=90))
    assert edge.receive(of_inventory(delete(uid="c"))).outcomes == (Outcome.DELETED,)
    edge.receive(of_inventory(delete("default/configmap/x", uid="x", version=4)))
    outcome, writes, _ = decide_answer(insert(uid="c", version=50), edge.index, {})
    assert outcome is Outcome.KEPT
    assert len(writes) == 1


def test_an_answer_is_kept_unless_something_newer_is_known() -> None:
    edge = Edge()
    edge.receive(insert(version=5))
    assert decide_answer(update(version=5), edge.index, {}) == (Outcome.KEPT, (), {})
    assert decide_answer(update(version=4), edge.index, {})[0] is Outcome.STALE
    assert decide_answer(update(version=6), edge.index, {})[0] is Outcome.KEPT
    assert decide_answer(carrying(Operation.RESPONSE, CONFIGMAP, []), edge.index, {})[0] is (
        Outcome.INVALID
    )


def test_an_answer_does_not_bring_back_what_was_deleted_after_it_was_given() -> None:
    edge = Edge()
    edge.receive(insert(version=5), delete(version=8))
    assert decide_answer(update(version=7), edge.index, {})[0] is Outcome.STALE
    # The same version as the deletion's: it was taken from this node only, and lives.
    assert decide_answer(update(version=8), edge.index, {})[0] is Outcome.KEPT


def test_deletions_write_tombstones_and_inventories_remove_them() -> None:
    edge = Edge()
    plan = edge.receive(delete(version=8))
    assert plan.writes == (Bury(Tombstone("u1", CONFIGMAP, 8, final=False)),)
    plan = edge.receive(of_inventory(insert(version=2)))
    assert Exhume(CONFIGMAP) in plan.writes


# --- properties ---


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """What an API server tells of some names: each owner is created, changed and often deleted."""
    version = 0
    told: list[Message] = []
    names = draw(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=6))
    living: dict[str, str] = {}
    for number, name in enumerate(names):
        resource, uid = f"default/pod/{name}", f"u{number}"
        if living.get(name) is not None:
            version += 1
            told.append(delete(resource, living[name], version))
        for step in range(draw(st.integers(1, 3))):
            version += 1
            operation = Operation.UPDATE if step else Operation.INSERT
            told.append(message(operation, resource, uid, version))
        living[name] = uid
        if draw(st.booleans()):
            version += 1
            told.append(delete(resource, uid, version))
            if draw(st.booleans()):
                told.append(delete(resource, uid, 0))  # KubeEdge tells it once more, as a skeleton
            living.pop(name)
    return told


def final(told: Sequence[Message]) -> dict[str, At]:
    """Return what the API server holds after ``told``."""
    edge: dict[str, At] = {}
    for one in told:
        metadata = loads(one.data())["metadata"]
        if one.operation is Operation.DELETE:
            edge.pop(one.resource, None)
        else:
            edge[one.resource] = At(metadata["uid"], int(metadata["resourceVersion"]))
    return edge


def in_batches(edge: Edge, told: Sequence[Message], sizes: random.Random) -> None:
    rest = list(told)
    while rest:
        size = sizes.randint(1, 5)
        edge.receive(*rest[:size])
        rest = rest[size:]


@given(histories(), st.randoms(use_true_random=False))
def test_any_order_and_repetition_ends_at_what_the_api_server_holds(
    told: list[Message], chance: random.Random
) -> None:
    shuffled = told + chance.choices(told, k=len(told))
    chance.shuffle(shuffled)
    edge = Edge()
    in_batches(edge, shuffled, chance)
    assert edge.stored() == final(told)


@given(histories(), st.randoms(use_true_random=False))
def test_a_repeated_history_changes_nothing_and_tells_nobody(
    told: list[Message], chance: random.Random
) -> None:
    edge = Edge()
    in_batches(edge, told, chance)
    before = edge.stored()
    plan = edge.receive(*told)
    assert (plan.writes, plan.forwards) == ((), ())
    assert edge.stored() == before


@given(histories(), st.randoms(use_true_random=False))
def test_no_object_goes_backwards_and_none_returns(
    told: list[Message], chance: random.Random
) -> None:
    shuffled = told + chance.choices(told, k=len(told))
    chance.shuffle(shuffled)
    edge = Edge()
    ended: set[str] = set()
    newest: dict[str, int] = {}
    for one in shuffled:
        edge.receive(one)
        if one.operation is Operation.DELETE:
            ended.add(loads(one.data())["metadata"]["uid"])
        for entry in edge.stored().values():
            assert entry.uid not in ended
            assert entry.version >= newest.get(entry.uid, 0)
            newest[entry.uid] = entry.version


@given(histories(), st.randoms(use_true_random=False))
def test_edged_is_told_of_one_owner_of_a_name_at_a_time(
    told: list[Message], chance: random.Random
) -> None:
    shuffled = told + chance.choices(told, k=len(told))
    chance.shuffle(shuffled)
    edge = Edge()
    in_batches(edge, shuffled, chance)
    running: dict[str, str] = {}
    for operation, resource, uid in edge.told:
        if operation == "delete":
            assert running.pop(resource) == uid
        else:
            assert running.setdefault(resource, uid) == uid
    assert running == {resource: entry.uid for resource, entry in edge.stored().items()}
