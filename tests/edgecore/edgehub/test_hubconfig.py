"""What EdgeHub is told. Everything is real; there is nothing to fake."""

from common import capabilities
from edgecore.edgehub.hubconfig import PROJECT_ID, HubConfig


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert HubConfig("n1", "::1", 10000).uri == f"wss://[::1]:10000/{PROJECT_ID}/n1/events"


def test_the_edge_says_who_it_is_and_all_that_it_can_do() -> None:
    assert HubConfig("n1", "cloud", 10000).headers == {
        "node_id": "n1",
        "project_id": PROJECT_ID,
        "ConnectionUse": "msg",
        capabilities.HEADER: "acks, beats, chunks, deflate, digest",
    }


def test_an_edge_that_can_do_nothing_more_says_nothing_of_it() -> None:
    headers = HubConfig("n1", "cloud", 10000, capabilities=capabilities.NONE).headers
    assert capabilities.HEADER not in headers


def test_a_silent_link_is_seen_in_less_than_two_beats() -> None:
    config = HubConfig("n1", "cloud", 10000)
    assert config.beat_s + config.answer_s < 2 * config.beat_s
    assert config.sign_s < config.answer_s


def test_beats_are_no_rarer_than_the_cloud_expects_them() -> None:
    assert HubConfig("n1", "cloud", 10000, heartbeat_s=60.0).beat_s == 10.0
    assert HubConfig("n1", "cloud", 10000, heartbeat_s=1.0).beat_s == 1.0
