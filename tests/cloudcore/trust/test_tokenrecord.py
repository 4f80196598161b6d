"""What is known of a named token, and whom it lets in. Pure."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.trust import tokenrecord
from cloudcore.trust.tokenrecord import Asker, Kept, State, TokenRecord, Use
from cloudcore.trust.tokens import TokenError
from common.names import NodeID

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
JWT = "a.b.c"
ASKER = Asker(NodeID("store-7"), "its key")
USE = Use("store-7", NOW, "its key")
MOMENTS = st.datetimes(timezones=st.just(UTC))
PLAIN_RECORD = TokenRecord(digest=tokenrecord.digest_of(JWT), expires=NOW + timedelta(hours=1))


def kept(**changes: Any) -> Kept:
    return Kept("t", msgspec.structs.replace(PLAIN_RECORD, **changes), "7")


def is_let_in(record: Kept, asker: Asker = ASKER, now: datetime = NOW) -> bool:
    try:
        tokenrecord.judge(record, JWT, asker, now)
    except TokenError:
        return False
    return True


def test_a_record_has_a_hash_and_never_the_token() -> None:
    secret = tokenrecord.to_secret("kubeedge", "t", PLAIN_RECORD)
    data = base64.b64decode(msgspec.json.decode(secret)["data"]["record"])
    assert JWT.encode() not in secret + data
    assert tokenrecord.digest_of(JWT).encode() in data


@given(
    st.builds(
        TokenRecord,
        digest=st.text(),
        expires=MOMENTS,
        node=st.text(),
        single_use=st.booleans(),
        used=st.none() | st.builds(Use, st.text(), MOMENTS, st.text()),
        revoked=st.none() | MOMENTS,
    )
)
def test_a_record_is_kept_as_it_is(record: TokenRecord) -> None:
    secret = msgspec.json.decode(tokenrecord.to_secret("kubeedge", "t", record, "7"))
    assert secret["metadata"]["name"] == "edgetoken.t"
    assert secret["metadata"]["labels"] == {"cloudedge.io/record": "token"}
    assert secret["type"] == "cloudedge.io/join-token"
    assert tokenrecord.from_secret(secret) == Kept("t", record, "7")


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"record": "ä"},
        {"record": base64.b64encode(b"{}").decode()},
        {"record": base64.b64encode(b'{"digest":"","expires":"2026-11-24T12:00:00"}').decode()},
    ],
)
def test_a_damaged_record_is_named(data: dict[str, str] | None) -> None:
    """A time without a zone is one, too."""
    metadata = {"name": "edgetoken.t", "resourceVersion": "7"}
    with pytest.raises(ValueError, match=r"edgetoken\.t is damaged"):
        tokenrecord.from_secret({"metadata": metadata, "data": data})


def test_only_the_token_itself_is_let_in_until_it_expires() -> None:
    assert is_let_in(kept())
    assert is_let_in(kept(), now=NOW + timedelta(minutes=59, seconds=59))
    assert not is_let_in(kept(), now=NOW + timedelta(hours=1))
    assert not is_let_in(kept(digest=tokenrecord.digest_of("a.b.d")))
    assert not is_let_in(kept(digest="ä"))


def test_a_revoked_token_lets_nobody_in_not_even_who_has_used_it() -> None:
    assert not is_let_in(kept(revoked=NOW))
    assert not is_let_in(kept(revoked=NOW, single_use=True, used=USE))


@pytest.mark.parametrize(
    ("pattern", "is_good", "is_bound"),
    [
        ("", True, False),
        ("store-7", True, True),
        ("store-*", True, False),
        ("store-?", True, False),
        ("store-[5-9]", True, False),
        ("store-[!5-9]", False, False),
        ("*", True, False),
        ("store-8", False, True),
        ("store", False, True),
        ("store-", False, True),
        ("shop-*", False, False),
        ("store-7?", False, False),
    ],
)
def test_a_token_is_for_a_node_by_its_name_or_for_those_of_a_pattern(
    pattern: str, *, is_good: bool, is_bound: bool
) -> None:
    record = kept(node=pattern)
    assert (is_let_in(record), record.record.is_bound) == (is_good, is_bound)


def test_a_dot_of_a_name_stands_for_nothing_else() -> None:
    assert not is_let_in(kept(node="store.7"))


def test_a_token_for_one_enrolment_is_good_again_for_the_same_key_of_the_same_node() -> None:
    record = kept(single_use=True, used=USE)
    assert is_let_in(kept(single_use=True))
    assert is_let_in(record)
    assert not is_let_in(record, Asker(NodeID("store-7"), "another key"))
    assert not is_let_in(record, Asker(NodeID("store-8"), "its key"))


def test_a_token_for_many_enrolments_stays_good_when_it_is_used() -> None:
    assert is_let_in(kept(used=USE), Asker(NodeID("store-8"), "another key"))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (kept(digest=""), "replaced"),
        (kept(revoked=NOW), "the token t was revoked"),
        (kept(expires=NOW), "expired"),
        (kept(node="shop-*"), "bound to shop-*, not store-7"),
        (kept(single_use=True, used=Use("n", NOW, "k")), "cloudcore token list"),
    ],
)
def test_a_refusal_tells_why_and_not_who_was_let_in(record: Kept, words: str) -> None:
    with pytest.raises(TokenError) as caught:
        tokenrecord.judge(record, JWT, ASKER, NOW)
    assert words in str(caught.value)


def test_the_state_of_a_token_is_told_in_one_word() -> None:
    hour = timedelta(hours=1)
    assert kept().record.state(NOW) is State.GOOD
    assert kept(used=USE).record.state(NOW) is State.GOOD
    assert kept(single_use=True, used=USE).record.state(NOW) is State.USED
    assert kept(single_use=True, used=USE).record.state(NOW + hour) is State.EXPIRED
    assert kept(revoked=NOW).record.state(NOW + hour) is State.REVOKED


def test_a_record_is_stale_a_week_after_its_token_has_expired() -> None:
    record = kept(revoked=NOW).record
    last = record.expires + timedelta(days=7)
    assert not record.is_stale(last - timedelta(seconds=1))
    assert record.is_stale(last)


@pytest.mark.parametrize("name", ["a", "shop-17", "0", "a" * 63])
def test_a_token_may_be_called_as_objects_are(name: str) -> None:
    assert tokenrecord.fault_of_name(name) == ""


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a.b", "a/b", "a" * 64, "a\n", "ä"])
def test_a_name_that_no_object_can_have_is_a_fault(name: str) -> None:
    assert "small letters" in tokenrecord.fault_of_name(name)


@pytest.mark.parametrize(
    ("node", "is_sound"),
    [("n1", True), ("a.b", True), ("store-*", True), ("s[1-3]?", True)]
    + [(bad, False) for bad in ("", "N", "a b", "a/b", "system:node:x", "n" * 254, "n\n")],
)
def test_only_what_can_match_a_nodes_name_is_taken_for_one(node: str, *, is_sound: bool) -> None:
    assert (tokenrecord.fault_of_nodes(node) == "") is is_sound


def test_times_are_whole_seconds_in_utc() -> None:
    moment = datetime.fromisoformat("2026-11-24T13:00:00.5+01:00")
    assert tokenrecord.to_whole_seconds(moment) == NOW
