"""The line of leases that are to be written. Pure."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudcore.edgecontroller.renewals import LEAST_RATE, SPREAD_S, Renewals
from common.names import NodeID

NODES = [NodeID(name) for name in "abc"]
A, B, C = NODES


def test_nodes_come_in_the_order_of_their_beats_and_once() -> None:
    renewals = Renewals()
    for node in (A, B, A, C, B):
        renewals.want(node)
    assert len(renewals) == 3
    assert [renewals.take(3) for _ in NODES] == [A, B, C]
    assert not renewals


def test_a_node_whose_lease_is_being_written_waits_for_that() -> None:
    renewals = Renewals()
    renewals.want(A)
    assert renewals.take(1) == A
    renewals.want(A)
    renewals.want(A)
    assert not renewals
    renewals.done(A)
    assert renewals.take(1) == A
    renewals.done(A)
    assert not renewals


def test_a_node_that_is_gone_is_written_no_more() -> None:
    renewals = Renewals()
    renewals.want(A)
    renewals.want(B)
    renewals.drop(A)
    assert renewals.take(2) == B
    renewals.want(B)
    renewals.drop(B)
    renewals.done(B)
    assert not renewals


def test_those_that_come_do_not_delay_those_that_are_there() -> None:
    renewals = Renewals()
    for number in range(1000):
        renewals.want(NodeID(str(number)), is_new=True)
    renewals.want(NodeID("5"))  # its first beat
    assert [renewals.take(1000) for _ in range(3)] == ["0", "1", "2"]
    renewals.want(A)
    renewals.want(B)
    renewals.want(B, is_new=True)  # by a new connection
    assert [renewals.take(1000) for _ in range(5)] == [A, "3", B, "4", "5"]
    assert len(renewals) == 994


@given(nodes=st.integers(1, 10_000), start=st.floats(0, 1e6))
def test_what_comes_at_one_moment_is_spread_and_yet_done_in_time(nodes: int, start: float) -> None:
    renewals, now_s = Renewals(), start
    for number in range(nodes):
        renewals.want(NodeID(str(number)))
    most = max(LEAST_RATE, nodes / SPREAD_S)
    taken = 0
    while renewals:
        pause_s = renewals.pause_s(now_s)
        now_s += pause_s
        if not pause_s:
            renewals.take(nodes)
            taken += 1
            assert taken <= most * (now_s - start + 0.3) + 1, "never faster than the pace"
    assert now_s - start <= SPREAD_S + 0.2


def test_one_alone_does_not_wait() -> None:
    renewals = Renewals()
    for moment in range(100):
        renewals.want(A)
        assert renewals.pause_s(moment / 50) == 0.0
        renewals.take(1)
        renewals.done(A)


class RenewalsMachine(RuleBasedStateMachine):
    """Against a model: who waits, and who is being written."""

    def __init__(self) -> None:
        super().__init__()
        self.renewals = Renewals()
        self.wanted: set[NodeID] = set()
        self.busy: set[NodeID] = set()

    @rule(node=st.sampled_from(NODES), is_new=st.booleans())
    def want(self, node: NodeID, *, is_new: bool) -> None:
        self.renewals.want(node, is_new=is_new)
        self.wanted.add(node)

    @rule(node=st.sampled_from(NODES))
    def drop(self, node: NodeID) -> None:
        self.renewals.drop(node)
        self.wanted.discard(node)

    @precondition(lambda self: self.wanted - self.busy)
    @rule()
    def take(self) -> None:
        node = self.renewals.take(3)
        assert node in self.wanted - self.busy
        self.wanted.discard(node)
        self.busy.add(node)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(sorted(self.busy)))
        self.busy.discard(node)
        self.renewals.done(node)

    @invariant()
    def whoever_waits_stands_in_line_unless_it_is_being_written(self) -> None:
        assert len(self.renewals) == len(self.wanted - self.busy)


TestRenewals = RenewalsMachine.TestCase
