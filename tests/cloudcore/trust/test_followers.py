"""Who would be left behind. Pure."""

from datetime import UTC, datetime, timedelta

from cloudcore.trust.followers import Behind, behind
from cloudcore.trust.ledgerentry import Entry
from common.names import NodeID

NOW = datetime(2026, 11, 24, tzinfo=UTC)
UNTIL = NOW + timedelta(days=100)
NODE = NodeID("n1")


def names(
    entry: Entry | None, *, node: str = "True", may_return_from: datetime = NOW
) -> list[Behind]:
    entries = {} if entry is None else {NODE: entry}
    nodes = {NODE: node} if node else {}
    return behind(entries, nodes, "new", may_return_from)


def test_a_node_that_has_shown_that_it_has_it_is_not_behind() -> None:
    assert names(Entry("1", UNTIL, issuer="new", authority="new")) == []


def test_a_node_with_a_certificate_by_the_old_one_is() -> None:
    (found,) = names(Entry("1", UNTIL, issuer="old", authority="old"), node="False")
    assert found == Behind(NODE, has_certificate=False, until=UNTIL, ready="False")


def test_a_certificate_by_the_new_one_is_not_enough() -> None:
    (found,) = names(Entry("1", UNTIL, issuer="new"))
    assert found == Behind(NODE, has_certificate=True, until=UNTIL, ready="True")


def test_a_node_of_which_the_ledger_knows_nothing_is_behind() -> None:
    (found,) = names(None)
    assert found == Behind(NODE, has_certificate=False, until=None, ready="True")


def test_a_node_without_a_node_may_come_back_as_long_as_its_certificate_can_be_renewed() -> None:
    entry = Entry("1", NOW, issuer="old")
    assert [one.ready for one in names(entry, node="")] == [""]
    late = NOW + timedelta(seconds=1)
    assert names(entry, node="", may_return_from=late) == []
    assert len(names(entry, may_return_from=late)) == 1, "its Node is there"


def test_nobody_waits_for_a_node_that_is_revoked() -> None:
    revoked = Entry("1", UNTIL, issuer="old", revoked_at=NOW)
    assert names(revoked) == []
    anew = Entry("2", UNTIL, issuer="old", revoked_at=NOW, since=("2",))
    assert len(names(anew)) == 1


def test_they_are_in_the_order_of_their_names() -> None:
    entries = {NodeID(name): Entry("1", UNTIL) for name in ("c", "a")}
    found = behind(entries, {NodeID("b"): "True"}, "new", NOW)
    assert [one.node for one in found] == ["a", "b", "c"]
