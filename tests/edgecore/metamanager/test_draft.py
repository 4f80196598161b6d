"""The draft of one batch. Everything is real; there is nothing to fake."""

from edgecore.edgestore.records import Bury, Exhume, Index, Put, Remove, Tombstone
from edgecore.metamanager.draft import Draft
from edgecore.metamanager.needs import PodNeeds
from tests.edgecore.edgestore.objects import stored

KEY, POD = "default/configmap/web", "default/pod/web"


def test_a_draft_shows_what_is_stored_with_its_own_changes() -> None:
    index = Index()
    index.note(Put(stored(KEY, uid="u1", version=1)))
    draft = Draft(index, {})
    assert draft.entry(KEY) == stored(KEY, uid="u1", version=1).entry
    draft.put(stored(KEY, uid="u1", version=2), None)
    assert draft.entry(KEY) == stored(KEY, uid="u1", version=2).entry
    draft.remove(KEY)
    assert draft.entry(KEY) is None
    assert index.entry(KEY) == stored(KEY, uid="u1", version=1).entry


def test_what_is_written_often_is_written_once() -> None:
    draft = Draft(Index(), {})
    for version in range(1, 100):
        draft.put(stored(KEY, version=version), None)
    assert draft.writes() == (Put(stored(KEY, version=99)),)


def test_a_tombstone_never_says_less_than_before() -> None:
    index = Index()
    index.note(Bury(Tombstone("u1", KEY, 9, final=True)))
    draft = Draft(index, {})
    draft.bury("u1", KEY, 5)
    assert draft.writes() == ()
    draft.bury("u1", KEY, 12)
    assert draft.writes() == (Bury(Tombstone("u1", KEY, 12, final=True)),)
    assert draft.grave(KEY) == 12


def test_what_has_no_uid_is_not_buried() -> None:
    draft = Draft(Index(), {})
    draft.bury("", KEY, 5)
    assert draft.writes() == ()


def test_what_is_exhumed_is_forgotten_in_the_batch_and_in_the_store() -> None:
    index = Index()
    index.note(Bury(Tombstone("u1", KEY, 9, final=True)))
    draft = Draft(index, {})
    draft.bury("u2", KEY, 10)
    draft.exhume(KEY)
    assert (draft.tombstone("u1"), draft.tombstone("u2"), draft.grave(KEY)) == (None, None, 0)
    draft.bury("u3", KEY, 2)
    assert draft.writes() == (Exhume(KEY), Bury(Tombstone("u3", KEY, 2, final=False)))
    assert draft.grave(KEY) == 2


def test_a_pod_takes_with_it_what_only_it_needed() -> None:
    index = Index()
    index.note(Put(stored(POD, uid="p1")))
    index.note(Put(stored(KEY)))
    draft = Draft(index, {POD: PodNeeds("p1", frozenset({KEY}))})
    draft.remove(POD)
    assert draft.writes() == (Remove(POD), Remove(KEY))
    assert draft.changed_pods == {POD: None}


def test_what_no_pod_needs_may_come_again_but_in_no_older_version() -> None:
    index = Index()
    index.note(Put(stored(KEY, version=7)))
    draft = Draft(index, {})
    draft.forget(KEY)
    assert draft.entry(KEY) is None
    assert draft.writes() == (Remove(KEY), Bury(Tombstone("u1", KEY, 6, final=False)))


def test_a_pod_that_takes_anothers_name_keeps_what_both_need() -> None:
    index = Index()
    index.note(Put(stored(POD, uid="p1")))
    index.note(Put(stored(KEY)))
    draft = Draft(index, {POD: PodNeeds("p1", frozenset({KEY, "default/secret/db"}))})
    draft.put(stored("default/secret/db"), None)
    draft.put(stored(POD, uid="p2"), PodNeeds("p2", frozenset({KEY})))
    assert draft.entry(KEY) is not None
    assert draft.entry("default/secret/db") is None
