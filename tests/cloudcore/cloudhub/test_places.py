"""Who may shake hands, wait, or go. Connections are words here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.cloudhub.places import Places, Verdict, origin_of


def places(connections: int = 9, per_origin: int = 4, handshakes: int = 2) -> Places[str]:
    return Places(
        connections=connections,
        connections_per_origin=per_origin,
        handshakes_per_origin=handshakes,
    )


def enter(made: Places[str], origin: str, one: str = "", now_s: float = 0.0) -> Verdict:
    return made.enter(origin, one, now_s, open_in_all=0, open_of_origin=0)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_a_machine_is_one_origin_however_many_addresses_it_has(address: str, origin: str) -> None:
    assert origin_of(address) == origin


def test_handshakes_of_an_origin_beyond_its_bound_wait_and_others_go_past_them() -> None:
    made = places()
    assert [enter(made, "a") for _ in range(2)] == [Verdict.GO] * 2
    assert enter(made, "a", "third") is Verdict.WAIT
    assert enter(made, "b") is Verdict.GO
    assert made.leave("b", 0.0) == (None, [])
    assert made.leave("a", 0.0) == ("third", [])
    assert enter(made, "a", "fourth") is Verdict.WAIT, "the third has taken the place"


def test_an_origin_has_a_last_connection_whether_they_are_open_or_under_way() -> None:
    made = places()
    assert made.enter("a", "", 0.0, open_in_all=3, open_of_origin=3) is Verdict.GO
    full = made.enter("a", "", 0.0, open_in_all=3, open_of_origin=3)
    assert full is Verdict.TOO_MANY_OF_ORIGIN
    assert made.enter("b", "", 0.0, open_in_all=3, open_of_origin=0) is Verdict.GO
    made.leave("a", 0.0)
    assert made.enter("a", "", 0.0, open_in_all=3, open_of_origin=3) is Verdict.GO


def test_there_is_a_last_connection_in_all() -> None:
    made = places(connections=3)
    assert [enter(made, origin) for origin in "aab"] == [Verdict.GO] * 3
    assert enter(made, "c") is Verdict.TOO_MANY
    made.leave("b", 0.0)
    assert enter(made, "c") is Verdict.GO


def test_who_has_waited_too_long_is_told_apart_and_takes_no_place() -> None:
    made = places(handshakes=1)
    assert enter(made, "a") is Verdict.GO
    for at, one in enumerate(("first", "second", "third")):
        assert enter(made, "a", one, float(at)) is Verdict.WAIT
    assert made.leave("a", 2.0) == ("third", ["first", "second"])
    assert made.leave("a", 9.0) == (None, [])


def test_all_that_wait_are_given_back_at_the_end() -> None:
    made = places(handshakes=1)
    for one in ("first", "second", "third"):
        enter(made, "a", one)
    assert made.drain() == ["second", "third"]
    assert made.leave("a", 0.0) == (None, [])
    assert made.drain() == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 3)), max_size=80))
def test_no_bound_is_ever_passed_and_nobody_is_forgotten(
    steps: list[tuple[str, bool, int]],
) -> None:
    made, now_s = places(connections=7), 0.0
    shaking: dict[str, int] = dict.fromkeys("abc", 0)
    waiting: dict[str, int] = dict.fromkeys("abc", 0)
    for origin, comes, passed in steps:
        now_s += passed
        if comes:
            verdict = enter(made, origin, origin, now_s)
            shaking[origin] += verdict is Verdict.GO
            waiting[origin] += verdict is Verdict.WAIT
        elif shaking[origin]:
            following, late = made.leave(origin, now_s - 2)
            shaking[origin] -= following is None
            waiting[origin] -= len(late) + (following is not None)
        assert all(number <= 2 for number in shaking.values())
        assert all(shaking[one] == 2 or not waiting[one] for one in "abc")
        assert all(shaking[one] + waiting[one] <= 4 for one in "abc")
        assert sum(shaking.values()) + sum(waiting.values()) <= 7
    assert len(made.drain()) == sum(waiting.values())
