"""The record of the pods that an edge may have. Pure."""

from hypothesis import given
from hypothesis import strategies as st

from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.podrecord import KEPT_S, MAX_PODS, PodRecord, parse_record
from common.names import UID

keys = st.builds(ObjectKey, st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]))
pods = st.dictionaries(st.sampled_from(["u1", "u2", "u3"]).map(UID), keys)
A, B = ObjectKey("ns", "a"), ObjectKey("ns", "b")


@given(pods)
def test_what_is_written_is_what_is_read(recorded: dict[UID, ObjectKey]) -> None:
    assert parse_record(PodRecord(recorded).data()) == recorded


def test_what_is_no_record_is_empty() -> None:
    assert parse_record({}) == {}
    assert parse_record({"pods": "nonsense\n\nu1 a\n a/b\nu2 a/b"}) == {
        UID("u2"): ObjectKey("a", "b")
    }


def test_a_pod_is_forgotten_some_time_after_it_has_ended() -> None:
    record = PodRecord({})
    assert record.update({UID("u1"): A, UID("u2"): B}, 0.0) == 0
    record.update({UID("u2"): B}, 10.0)
    assert record.ended([UID("u2")]) == {UID("u1"): A}
    record.update({UID("u2"): B}, 10.0 + KEPT_S - 1)
    assert len(record) == 2
    record.update({UID("u2"): B}, 10.0 + KEPT_S)
    assert record.ended([]) == {UID("u2"): B}


def test_a_pod_that_is_there_again_is_not_forgotten() -> None:
    record = PodRecord({UID("u1"): A})
    record.update({}, 0.0)
    record.update({UID("u1"): A}, 1.0)
    record.update({UID("u1"): A}, KEPT_S + 5)
    assert len(record) == 1


def test_what_somebody_else_has_recorded_is_taken_over() -> None:
    record = PodRecord({UID("u1"): A})
    record.merge({UID("u2"): B, UID("u1"): B})
    assert record.ended([]) == {UID("u1"): A, UID("u2"): B}


def test_it_has_room_for_so_many_and_forgets_the_ended_ones_first() -> None:
    many = {UID(f"u{number}"): A for number in range(MAX_PODS)}
    record = PodRecord(many)
    new = {UID("new"): B, **dict(list(many.items())[5:])}
    assert record.update(new, 0.0) == 1
    assert len(record) == MAX_PODS
    assert len(record.ended(new)) == 4
    assert len(record.data()["pods"]) < 1024 * 1024 / 2
    assert MAX_PODS * (36 + 63 + 253 + 3) < 1024 * 1024
