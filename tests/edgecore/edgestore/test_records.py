"""The index of the edge-store. Everything is real; there is nothing to fake."""

from common.inventory import content_hash
from edgecore.edgestore.records import (
    MAX_TOMBSTONES,
    Bury,
    Entry,
    Exhume,
    Identity,
    Index,
    Put,
    Remove,
    SetState,
    Tombstone,
)
from tests.edgecore.edgestore.objects import stored

KEY = "default/configmap/web"


def test_what_is_put_is_found_by_key_and_type() -> None:
    index = Index()
    index.note(Put(stored(KEY, uid="u1", version=7)))
    entry = Entry("u1", 7, content_hash(b"{}"))
    assert index.entry(KEY) == entry
    assert list(index.keys("configmap")) == [KEY]
    assert list(index.keys("pod")) == []
    assert dict(index.entries) == {KEY: entry}


def test_what_is_in_the_file_is_known_without_its_value() -> None:
    one = stored(KEY, uid="u1", version=7, value=b'{"a":1}')
    index, loaded = Index(), Index()
    index.note(Put(one))
    loaded.add(Identity(KEY, "configmap", one.entry))
    assert dict(loaded.entries) == dict(index.entries)
    assert list(loaded.keys("configmap")) == [KEY]


def test_the_same_version_with_another_content_is_another_entry() -> None:
    assert stored(value=b"{}").entry != stored(value=b'{"a":1}').entry
    assert stored(value=b"{}").entry == stored(value=b"{}\n").entry


def test_what_is_removed_is_found_no_more() -> None:
    index = Index()
    index.note(Put(stored(KEY)))
    index.note(Remove(KEY))
    index.note(Remove(KEY))
    assert index.entry(KEY) is None
    assert list(index.keys("configmap")) == []


def test_a_grave_tells_the_highest_version_that_ended_under_a_key() -> None:
    index = Index()
    index.note(Bury(Tombstone("u2", KEY, 9, final=False)))
    index.note(Bury(Tombstone("u1", KEY, 5, final=True)))
    assert index.grave(KEY) == 9
    assert index.graves == {KEY: 9}
    assert index.tombstone("u1") == Tombstone("u1", KEY, 5, final=True)
    index.note(Exhume(KEY))
    assert index.grave(KEY) == 0
    assert index.tombstone("u1") is None


def test_the_oldest_tombstones_go_when_there_are_too_many() -> None:
    index = Index()
    index.note(Bury(Tombstone("first", KEY, 9, final=False)))
    index.note(Bury(Tombstone("second", KEY, 4, final=False)))
    for number in range(MAX_TOMBSTONES - 1):
        index.note(Bury(Tombstone(f"other-{number}", f"default/pod/{number}", 1, final=False)))
    assert index.tombstone("first") is None
    assert index.grave(KEY) == 4
    index.note(Bury(Tombstone("another", "default/pod/x", 1, final=False)))
    assert index.tombstone("second") is None
    assert index.grave(KEY) == 0


def test_state_is_not_part_of_the_index() -> None:
    index = Index()
    index.note(SetState("a", "b"))
    assert not index.entries
