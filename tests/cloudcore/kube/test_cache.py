"""The cache of a kind: what each event changes. Pure, compared with an obvious model."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.kube.cache import Change, ChangeType, ObjectCache
from cloudcore.kube.listwatch import (
    Bookmarked,
    Interrupted,
    ListCompleted,
    ListStarted,
    ObjectChanged,
    ObjectDeleted,
    PageListed,
    RawObject,
    WatchEvent,
)
from cloudcore.kube.views import ObjectKey, ObjectView, view_as
from common.inventory import content_hash
from common.names import UID


def obj(
    name: str, version: int, uid: str = "u", *, wanted: bool = True, data: str = ""
) -> RawObject:
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {"wanted": ""} if wanted else {},
    }
    raw = json.dumps({"metadata": metadata, "data": data}).encode()
    return RawObject(view_as(raw, ObjectView), msgspec.Raw(raw))


def cache() -> ObjectCache:
    return ObjectCache(lambda one: "wanted" in one.view.metadata.labels)


def key(name: str) -> ObjectKey:
    return ObjectKey("ns", name)


def told(changes: list[Change]) -> list[tuple[ChangeType, str, str]]:
    return [(one.type, one.key.name, one.uid) for one in changes]


def listed(store: ObjectCache, *objects: RawObject, overtaken: int = 0) -> list[Change]:
    """What a list changes, with all that it lacks being confirmed."""
    changes = listed_only(store, *objects, overtaken=overtaken)
    for one in store.absent():
        changes += store.end_absent(*one)
    return changes


def listed_only(store: ObjectCache, *objects: RawObject, overtaken: int = 0) -> list[Change]:
    events: list[WatchEvent] = [
        ListStarted(overtaken),
        PageListed(list(objects)),
        ListCompleted("9"),
    ]
    return [change for event in events for change in store.apply(event)]


def test_what_a_list_brings_is_added() -> None:
    store = cache()
    one = obj("a", 1)
    (change,) = listed(store, one)
    assert (change.type, change.now, change.before) == (ChangeType.ADDED, one, None)
    assert store.get(key("a")) is one
    assert store.identity(key("a")) == ("u", "1")
    assert key("a") in store
    assert len(store) == 1


def test_a_relist_tells_the_difference_only() -> None:
    store = cache()
    listed(store, obj("same", 1), obj("changed", 1), obj("gone", 1), obj("replaced", 1, "old"))
    changes = listed(
        store, obj("same", 1), obj("changed", 2), obj("new", 3), obj("replaced", 4, "new")
    )
    assert told(changes) == [
        (ChangeType.MODIFIED, "changed", "u"),
        (ChangeType.ADDED, "new", "u"),
        (ChangeType.DELETED, "replaced", "old"),
        (ChangeType.ADDED, "replaced", "new"),
        (ChangeType.DELETED, "gone", "u"),
    ]


def test_a_list_that_was_broken_off_deletes_nothing() -> None:
    store = cache()
    listed(store, obj("a", 1), obj("b", 1))
    store.apply(ListStarted())
    store.apply(PageListed([obj("a", 1)]))
    assert told(listed(store, obj("b", 1), obj("a", 1))) == []


def test_an_older_version_is_taken_where_the_api_server_says_so() -> None:
    """After an etcd was restored from a backup it counts down."""
    store = cache()
    listed(store, obj("a", 7))
    assert told(listed(store, obj("a", 3))) == [(ChangeType.MODIFIED, "a", "u")]


def test_the_same_version_again_is_no_change() -> None:
    store = cache()
    store.apply(ObjectChanged(obj("a", 1)))
    assert store.apply(ObjectChanged(obj("a", 1))) == []
    assert store.apply(Bookmarked("5")) == []


def test_a_deletion_carries_the_last_state() -> None:
    store = cache()
    first, last = obj("a", 1), obj("a", 2)
    store.apply(ObjectChanged(first))
    (change,) = store.apply(ObjectDeleted(last))
    assert (change.type, change.now, change.before) == (ChangeType.DELETED, last, first)
    assert store.apply(ObjectDeleted(last)) == []


def test_what_is_not_wanted_is_known_and_not_kept() -> None:
    store = cache()
    (change,) = store.apply(ObjectChanged(obj("a", 1, wanted=False)))
    assert change.now is not None
    assert store.get(key("a")) is None
    assert store.identity(key("a")) == ("u", "1")
    (change,) = listed(store)
    assert (change.type, change.now) == (ChangeType.DELETED, None)


def test_it_is_kept_once_it_is_wanted_and_dropped_again() -> None:
    store = cache()
    store.apply(ObjectChanged(obj("a", 1, wanted=False)))
    assert not store.keep(obj("a", 2))  # newer: that comes as a change
    assert not store.keep(obj("a", 1, "other"))
    assert not store.keep(obj("b", 1))
    fetched = obj("a", 1)
    assert store.keep(fetched)
    assert not store.keep(fetched)
    assert list(store.kept()) == [fetched]
    store.drop(key("a"))
    store.drop(key("b"))
    assert list(store.kept()) == []


def test_what_we_wrote_ourselves_has_to_be_seen_first() -> None:
    store = cache()
    one = obj("a", 1)
    store.apply(ObjectChanged(one))
    assert store.settled(key("a")) is one
    store.note_written(key("a"), UID("u"), "3")
    store.note_written(key("a"), UID("other"), "9")
    store.note_written(key("b"), UID("u"), "9")
    assert store.settled(key("a")) is None
    store.apply(ObjectChanged(obj("a", 2)))
    assert store.settled(key("a")) is None
    seen = obj("a", 3)
    store.apply(ObjectChanged(seen))
    assert store.settled(key("a")) is seen
    assert store.settled(key("b")) is None


def test_what_a_list_lacks_stays_until_somebody_has_asked_for_it() -> None:
    store = cache()
    listed(store, obj("a", 1), obj("b", 1), obj("c", 1), obj("d", 1))
    assert listed_only(store, obj("a", 1)) == []
    assert store.absent() == [(key(name), "u") for name in "bcd"]
    assert store.identity(key("b")) == ("u", "1")
    assert store.end_absent(key("b"), UID("other")) == []
    (change,) = store.end_absent(key("b"), UID("u"))
    assert (change.type, key("b") in store) == (ChangeType.DELETED, False)
    assert store.end_absent(key("b"), UID("u")) == []
    store.present(key("c"))
    store.apply(ObjectChanged(obj("d", 2)))
    assert store.absent() == []
    assert store.get(key("c")) is not None
    listed_only(store)
    assert store.is_absent(key("c"), UID("u"))
    store.apply(ListStarted())
    assert store.absent() == []  # the next list tells


def test_the_same_version_with_another_content_is_a_change_that_a_list_tells() -> None:
    """An etcd that was restored has counted up again to a version that it had given before."""
    store = cache()
    listed(store, obj("a", 5, data="old"), obj("b", 5))
    assert store.restores == 0
    (change,) = listed(store, obj("a", 5, data="new"), obj("b", 5))
    assert (change.type, change.key.name, change.is_restored) == (ChangeType.MODIFIED, "a", True)
    assert store.restores == 1
    (later,) = store.apply(ObjectChanged(obj("b", 6)))
    assert not later.is_restored


def test_until_versions_have_passed_what_they_were_before_all_is_told_as_restored() -> None:
    store = cache()
    listed(store, obj("a", 50), obj("gone", 51), obj("still", 3))
    changes = listed(store, obj("a", 4), obj("back", 7), obj("still", 3), overtaken=60)
    assert told(changes) == [
        (ChangeType.MODIFIED, "a", "u"),
        (ChangeType.ADDED, "back", "u"),
        (ChangeType.DELETED, "gone", "u"),
    ]
    assert all(one.is_restored for one in changes)
    assert store.restores == 1
    new, deleted, later = (
        store.apply(event)[0]
        for event in (
            ObjectChanged(obj("new", 20)),
            ObjectDeleted(obj("new", 21)),
            ObjectChanged(obj("a", 61)),
        )
    )
    assert (new.is_restored, deleted.is_restored, later.is_restored) == (True, True, False)


def test_a_body_that_was_not_kept_is_told_after_a_restore_and_else_taken_as_it_comes() -> None:
    store = cache()
    listed(store, obj("a", 5))
    store.drop(key("a"))
    assert listed(store, obj("a", 5)) == []
    assert store.get(key("a")) is not None
    store.drop(key("a"))
    assert told(listed(store, obj("a", 5), overtaken=9)) == [(ChangeType.MODIFIED, "a", "u")]


def test_what_we_wrote_before_a_restore_is_not_waited_for() -> None:
    store = cache()
    listed(store, obj("a", 50))
    store.note_written(key("a"), UID("u"), "55")
    assert store.settled(key("a")) is None
    listed(store, obj("a", 7), overtaken=60)
    assert store.settled(key("a")) is not None


def test_the_content_has_a_hash_where_it_is_kept() -> None:
    store = cache()
    first, second = obj("a", 1, data="x"), obj("a", 2, data="y")
    store.apply(ObjectChanged(first))
    assert store.content(key("a")) == store.content(key("a")) == content_hash(first.raw)
    store.apply(ObjectChanged(second))
    assert store.content(key("a")) == content_hash(second.raw)
    store.drop(key("a"))
    assert store.content(key("a")) is None
    assert store.content(key("b")) is None


def test_the_cache_knows_how_far_it_is() -> None:
    store = cache()
    events: list[tuple[WatchEvent, int]] = [
        (ListStarted(), 0),
        (PageListed([obj("a", 4)]), 0),
        (ListCompleted("9"), 9),
        (ObjectChanged(obj("a", 11)), 11),
        (Bookmarked("15"), 15),
        (Interrupted(), 15),
        (ObjectDeleted(obj("a", 17)), 17),
        (ObjectDeleted(obj("never", 18)), 18),
    ]
    for event, version in events:
        store.apply(event)
        assert store.version == version


names = st.sampled_from("abc")
objects = st.builds(obj, names, st.integers(1, 5), st.sampled_from(["u1", "u2"]))
steps = st.one_of(
    objects.map(ObjectChanged),
    objects.map(ObjectDeleted),
    st.lists(objects, unique_by=lambda one: one.view.metadata.name),
)


@given(st.lists(steps))
def test_changes_add_up_to_what_there_is(
    sequence: list[ObjectChanged | ObjectDeleted | list[RawObject]],
) -> None:
    store = cache()
    model: dict[ObjectKey, tuple[str, str]] = {}
    replayed: dict[ObjectKey, tuple[str, str]] = {}
    for step in sequence:
        match step:
            case ObjectChanged(one):
                metadata = one.view.metadata
                model[metadata.key] = (metadata.uid, metadata.resourceVersion)
                changes = store.apply(step)
            case ObjectDeleted(one):
                model.pop(one.view.metadata.key, None)
                changes = store.apply(step)
            case _:
                metadatas = [one.view.metadata for one in step]
                model = {one.key: (one.uid, one.resourceVersion) for one in metadatas}
                changes = listed(store, *step)
        for change in changes:
            if change.type is ChangeType.DELETED:
                assert replayed.pop(change.key)[0] == change.uid
            else:
                assert change.now is not None
                replayed[change.key] = (change.uid, change.now.view.metadata.resourceVersion)
    assert replayed == model
    assert {one: store.identity(one) for one in model} == model
    assert len(store) == len(model)
