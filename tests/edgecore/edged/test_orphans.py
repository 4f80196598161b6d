"""Pods that nobody knows. Pure: nothing is faked."""

from common.names import UID
from edgecore.edged.orphans import SURE_S, Orphans
from edgecore.edged.runtime.base import PodObservation
from tests.edgecore.edged.world import pod_object


def seen(name: str) -> PodObservation:
    return PodObservation(UID(f"uid-{name}"), "default", name, "s", sandbox_ready=True)


def test_a_pod_is_left_alone_until_the_cloud_could_have_named_it() -> None:
    orphans = Orphans()
    assert orphans.due([seen("a")], (), 100.0) == []
    assert orphans.are_waited_for
    assert orphans.due([seen("a"), seen("b")], (), 100.0 + SURE_S) == [seen("a")]
    assert orphans.are_waited_for  # for the other one
    assert orphans.due([seen("b")], (), 100.0 + 2 * SURE_S) == [seen("b")]
    assert not orphans.are_waited_for


def test_one_that_was_known_in_between_is_new_when_it_is_seen_again() -> None:
    orphans = Orphans()
    orphans.due([seen("a")], (), 100.0)
    assert orphans.due([], (), 105.0) == []
    assert not orphans.are_waited_for
    assert orphans.due([seen("a")], (), 100.0 + SURE_S) == []


def test_one_whose_name_another_pod_has_was_deleted() -> None:
    orphans = Orphans()
    assert orphans.due([seen("a"), seen("b")], {"default/a"}, 100.0) == [seen("a")]


def test_one_that_turns_out_to_be_known_begins_anew_when_it_has_ended() -> None:
    orphans, pod = Orphans(), pod_object("a")
    assert not orphans.returned(pod)
    orphans.due([seen("a")], {"default/a"}, 100.0)
    assert orphans.returned(pod)
    assert orphans.gone(UID("uid-a")) == pod
    assert not orphans.returned(pod)
    assert orphans.gone(UID("uid-a")) is None


def test_one_that_is_deleted_meanwhile_does_not() -> None:
    orphans = Orphans()
    orphans.due([seen("a")], {"default/a"}, 100.0)
    orphans.returned(pod_object("a"))
    orphans.deleted(UID("uid-a"))
    orphans.deleted(UID("uid-b"))
    assert orphans.gone(UID("uid-a")) is None
    assert not orphans.returned(pod_object("b"))
