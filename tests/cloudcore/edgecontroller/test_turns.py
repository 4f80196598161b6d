"""Whose turn it is. Pure."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloudcore.edgecontroller.turns import Turns
from common.names import NodeID

A, B, C = NodeID("a"), NodeID("b"), NodeID("c")


def granted(turns: Turns[int]) -> list[tuple[NodeID, int]]:
    return list(iter(turns.grant, None))


def test_places_go_round() -> None:
    turns: Turns[int] = Turns(2, 2)
    for ticket in range(6):
        turns.enter(A, ticket)
    assert granted(turns) == [(A, 0), (A, 1)]
    turns.enter(B, 10)
    turns.enter(B, 11)
    turns.enter(C, 20)
    order = []
    for holder in (A, A, A, B, C):
        turns.leave(holder)
        order += granted(turns)
    assert order == [(B, 10), (C, 20), (A, 2), (B, 11), (A, 3)]


def test_a_node_holds_no_more_than_its_share() -> None:
    turns: Turns[int] = Turns(4, 2)
    for ticket in range(4):
        turns.enter(A, ticket)
    assert granted(turns) == [(A, 0), (A, 1)]
    turns.enter(B, 10)
    assert granted(turns) == [(B, 10)]
    turns.leave(A)
    assert granted(turns) == [(A, 2)]


def test_who_gives_up_is_passed_over_and_forgotten() -> None:
    turns: Turns[int] = Turns(1, 1)
    turns.enter(A, 0)
    assert granted(turns) == [(A, 0)]
    turns.enter(B, 10)
    turns.enter(C, 20)
    turns.enter(C, 21)
    turns.give_up(B, 10)
    turns.give_up(B, 10)
    turns.give_up(C, 20)
    turns.give_up(A, 0)  # has its place
    turns.leave(A)
    assert granted(turns) == [(C, 21)]
    assert len(turns) == 1
    turns.leave(C)
    assert len(turns) == 0


@pytest.mark.parametrize(("places", "per_node"), [(0, 0), (1, 0), (1, 2)])
def test_shares_that_cannot_be_are_refused(places: int, per_node: int) -> None:
    with pytest.raises(AssertionError):
        Turns(places, per_node)


@given(
    places=st.integers(1, 4),
    share=st.integers(1, 4),
    flood=st.integers(0, 50),
    others=st.integers(0, 5),
    pattern=st.lists(st.integers(0, 3), max_size=30),
)
def test_beside_a_flooding_node_another_one_waits_for_one_turn_at_most(
    places: int, share: int, flood: int, others: int, pattern: list[int]
) -> None:
    turns: Turns[int] = Turns(places, min(share, places))
    held: list[NodeID] = []
    for ticket in range(flood):
        turns.enter(A, ticket)
    for number in range(others):
        turns.enter(NodeID(f"o{number}"), number)
    held += [node for node, _ in granted(turns)]
    for index in pattern:  # whoever leaves, the flood goes on
        if held:
            turns.leave(held.pop(index % len(held)))
        turns.enter(A, 1000)
        held += [node for node, _ in granted(turns)]
    turns.enter(B, -1)
    before: Counter[NodeID] = Counter()
    while True:
        found = turns.grant()
        if found is None:
            turns.leave(held.pop(0))
            turns.enter(A, 1000)
            continue
        if found == (B, -1):
            break
        held.append(found[0])
        before[found[0]] += 1
    assert all(count == 1 for count in before.values())


class TurnsMachine(RuleBasedStateMachine):
    """Random requests, ends and changes of mind."""

    @initialize(places=st.integers(1, 4), share=st.integers(1, 4))
    def start(self, places: int, share: int) -> None:
        self.places, self.share = places, min(share, places)
        self.turns: Turns[int] = Turns(self.places, self.share)
        self.waiting: dict[NodeID, list[int]] = {A: [], B: [], C: []}
        self.held: list[NodeID] = []
        self.tickets = 0

    @rule(node=st.sampled_from([A, B, C]))
    def enter(self, node: NodeID) -> None:
        self.tickets += 1
        self.waiting[node].append(self.tickets)
        self.turns.enter(node, self.tickets)
        self.grant()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        node = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.turns.leave(node)
        self.grant()

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from([n for n, tickets in self.waiting.items() if tickets]))
        ticket = data.draw(st.sampled_from(self.waiting[node]))
        self.waiting[node].remove(ticket)
        self.turns.give_up(node, ticket)
        self.grant()

    def grant(self) -> None:
        for node, ticket in granted(self.turns):
            assert self.waiting[node].pop(0) == ticket, "in the order of its node"
            self.held.append(node)

    @invariant()
    def no_place_is_lost_or_made(self) -> None:
        holds = Counter(self.held)
        assert len(self.held) <= self.places
        assert all(count <= self.share for count in holds.values())
        if len(self.held) < self.places:  # then nobody waits who may have one
            assert all(holds[node] == self.share for node, own in self.waiting.items() if own)
        assert len(self.turns) == sum(
            bool(own) or holds[node] > 0 for node, own in self.waiting.items()
        )


TestTurns = TurnsMachine.TestCase
