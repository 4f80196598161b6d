"""What is said of what is held. Everything is real; there is nothing to fake."""

from common.inventory import Row, content_hash, to_hex
from common.inventory import digest as digest_of
from edgecore.edgestore.records import Bury, Index, Put, Tombstone
from edgecore.metamanager import inventory
from tests.edgecore.edgestore.objects import stored

POD, NODE = "default/pod/web", "null/node/n1"
VALUE = b'{"a":1}'


def held() -> Index:
    index = Index()
    for one in (
        stored(NODE, uid="n", version=4, value=VALUE),
        stored("default/configmap/a", uid="a", version=9),
        stored("default/configmap/b", uid="b", version=12),
        stored("default/configmap/c", uid="c", version=0),
        stored("default/serviceaccounttoken/x/y", uid="p"),
        stored("null/persistentvolume/disk", uid="d", version=99),
        stored(POD, uid="p", version=3),
    ):
        index.note(Put(one))
    return index


def test_rows_are_of_what_the_cloud_keeps_in_step() -> None:
    rows = list(inventory.rows(held()))
    assert rows[0] == Row("pod", "default", "web", "p", "3", content_hash(b"{}"))
    assert rows[-1] == Row("node", "null", "n1", "n", "4", content_hash(VALUE))
    assert [row.resource_type for row in rows] == ["pod", *["configmap"] * 3, "node"]


def test_the_brief_one_has_a_digest_a_count_and_the_newest_of_each_type() -> None:
    digest = to_hex(digest_of(inventory.rows(held())))
    assert inventory.digest(held()) == digest
    assert inventory.brief(held()) == {
        "digest": digest,
        "count": 5,
        "newest": {"pod": "3", "configmap": "12", "node": "4"},
    }


def test_the_full_one_names_each_with_its_content() -> None:
    full = inventory.full(held())
    assert full["newest"] == {"pod": "3", "configmap": "12", "node": "4"}
    assert len(full["objects"]) == 5
    assert full["objects"][-1] == ["node", "null", "n1", "n", "4", to_hex(content_hash(VALUE))]


def test_the_plain_one_is_what_the_first_version_of_the_protocol_has() -> None:
    plain = inventory.plain(held())
    assert plain.keys() == {"objects"}
    assert plain["objects"][-1] == ["node", "null", "n1", "n", "4"]


def test_what_has_ended_is_among_the_newest_or_a_cloud_that_is_behind_would_bring_it_back() -> None:
    index = held()
    for uid, key, version in (
        ("old", POD, 2),
        ("ended", "default/pod/ended", 8),
        ("s", "default/service/s", 7),
        ("u", "default/secret/when-is-not-known", 0),
        ("v", "null/persistentvolume/v", 100),
    ):
        index.note(Bury(Tombstone(uid, key, version, final=False)))
    newest = {"pod": "8", "configmap": "12", "node": "4", "service": "7"}
    assert inventory.brief(index)["newest"] == inventory.full(index)["newest"] == newest


def test_nothing_is_an_inventory_too() -> None:
    assert inventory.brief(Index()) == {"digest": "0" * 16, "count": 0, "newest": {}}
