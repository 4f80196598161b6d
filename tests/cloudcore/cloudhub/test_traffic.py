"""What nodes cost on a metered link. Pure: the clock is an argument."""

from cloudcore.cloudhub.traffic import WINDOW_S, Traffic
from common.names import NodeID

A, B = NodeID("a"), NodeID("b")


def test_nothing_is_said_before_the_first_hour_is_over() -> None:
    traffic = Traffic(0.0)
    traffic.note(A, 100)
    traffic.roll(WINDOW_S - 1)
    assert traffic.per_day() == {}


def test_a_day_is_twenty_four_of_the_last_hour() -> None:
    traffic = Traffic(0.0)
    for _ in range(2):
        traffic.note(A, 500)
    traffic.roll(WINDOW_S)
    assert traffic.per_day() == {0.5: 24_000.0, 0.9: 24_000.0, 0.99: 24_000.0, 1.0: 24_000.0}


def test_the_quantiles_are_over_the_nodes() -> None:
    traffic = Traffic(0.0)
    for number in range(100):
        traffic.note(NodeID(f"n{number}"), number)
    traffic.roll(WINDOW_S)
    per_day = traffic.per_day()
    assert per_day[0.5] == 50 * 24
    assert per_day[1.0] == 99 * 24


def test_an_hour_without_a_node_forgets_it() -> None:
    traffic = Traffic(0.0)
    traffic.note(A, 1000)
    traffic.roll(WINDOW_S)
    traffic.note(B, 1)
    traffic.roll(2 * WINDOW_S)
    assert traffic.per_day()[1.0] == 24.0
