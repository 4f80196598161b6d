"""How much a comparison may delete. Pure."""

from hypothesis import given
from hypothesis import strategies as st

from cloudcore.synccontroller.guard import MANY_NODES, MANY_PODS, WINDOW_S, Guard, Plan
from common.names import NodeID

NODE = NodeID("n0")
NOTHING = Plan(pods=10, ended_pods=0, deletions=0)
ONE = Plan(pods=10, ended_pods=1, deletions=1)


def nodes(count: int, start: int = 0) -> list[NodeID]:
    return [NodeID(f"n{number}") for number in range(start, start + count)]


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_node_of_many_pods_may_lose_half_of_them(pods: int, ended: int) -> None:
    held = Guard().admit({NODE: Plan(pods, ended, ended)}, 1, 0.0)
    assert bool(held) is (pods >= MANY_PODS and ended > pods / 2)


@given(st.integers(1, 200), st.integers(0, 60))
def test_of_many_nodes_one_in_twenty_may_lose_something_at_once(fleet: int, losing: int) -> None:
    held = Guard().admit(dict.fromkeys(nodes(losing), ONE), fleet, 0.0)
    is_wide = fleet >= MANY_NODES and losing > fleet / 20
    assert set(held) == set(nodes(losing) if is_wide else [])


@given(st.integers(MANY_NODES, 200), st.lists(st.integers(0, 59), max_size=60, unique=True))
def test_it_is_the_same_whether_they_come_together_or_one_after_the_other(
    fleet: int, order: list[int]
) -> None:
    guard, held = Guard(), set[NodeID]()
    for number in order:
        held |= guard.admit({NodeID(f"n{number}"): ONE}, fleet, float(number)).keys()
    assert len(order) - len(held) == min(len(order), fleet // 20)
    assert guard.held.keys() == held


def test_who_lost_something_longer_ago_counts_no_more() -> None:
    guard = Guard()
    assert not guard.admit({NODE: ONE}, 20, 0.0)
    assert guard.admit({NodeID("n1"): ONE}, 20, WINDOW_S - 1)
    assert not Guard().admit({NodeID("n2"): ONE}, 20, 0.0)
    assert not guard.admit({NodeID("n3"): NOTHING}, 20, WINDOW_S - 1)
    assert guard.admit({NodeID("n4"): ONE}, 20, WINDOW_S)  # n1 is still among them
    assert not guard.admit({NodeID("n5"): ONE}, 20, 3 * WINDOW_S)


def test_what_is_held_stays_held_until_it_is_released_or_there_is_nothing_to_delete() -> None:
    guard = Guard()
    much = Plan(pods=8, ended_pods=5, deletions=5)
    assert guard.admit({NODE: much}, 1, 0.0) == {NODE: "would end 5 of 8 pods"}
    assert guard.admit({NODE: ONE}, 1, 9 * WINDOW_S)  # on another day, too
    guard.settled(NODE)
    assert not guard.held
    assert guard.admit({NODE: much}, 1, 0.0)
    guard.release(NODE)
    assert guard.is_released(NODE)
    assert not guard.held
    assert not guard.admit({NODE: much}, 1, 0.0)
    guard.settled(NODE)
    assert guard.admit({NODE: much}, 1, 0.0)


def test_who_is_released_does_not_count_against_others() -> None:
    guard = Guard()
    for node in nodes(10):
        guard.release(node)
    assert not guard.admit(dict.fromkeys(nodes(10), ONE), 20, 0.0)
    assert not guard.admit({NodeID("n50"): ONE}, 20, 0.0)
