"""The monitor endpoint over real HTTP; only the clock is the test's."""

import http.client

import pytest
from prometheus_client import CollectorRegistry, Counter

from common.health import STUCK_AFTER_S, Health, monitor

LOOPBACK = ("127.0.0.1", 0)


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_ready_once_every_condition_is_met_and_says_why_not_before() -> None:
    health = Health()
    health.set_condition("caches", "pods are not listed yet")
    health.set_condition("hub")
    with monitor(LOOPBACK, health, CollectorRegistry()) as port:
        assert get(port, "/readyz") == (503, "caches: pods are not listed yet\n")
        health.set_condition("caches")
        assert get(port, "/readyz?verbose") == (200, "ok\n")


def test_a_loop_that_does_not_turn_is_not_healthy() -> None:
    now_s = 0.0
    health = Health(lambda: now_s)
    with monitor(LOOPBACK, health, CollectorRegistry()) as port:
        assert get(port, "/healthz") == (200, "ok\n")
        now_s = STUCK_AFTER_S
        assert get(port, "/livez") == (503, "the event loop is stuck\n")
        health.beat()
        assert get(port, "/healthz")[0] == 200


def test_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    Counter("nodes_seen", "Nodes.", registry=registry).inc(3)
    with monitor(LOOPBACK, Health(), registry) as port:
        status, text = get(port, "/metrics")
    assert status == 200
    assert "nodes_seen_total 3.0" in text


def test_another_path_says_where_to_look() -> None:
    with monitor(LOOPBACK, Health(), CollectorRegistry()) as port:
        assert get(port, "/") == (404, "try /healthz, /readyz or /metrics\n")


def test_an_address_that_is_taken_is_an_error_at_once() -> None:
    with (
        monitor(LOOPBACK, Health(), CollectorRegistry()) as port,
        pytest.raises(OSError, match="in use"),
        monitor(("127.0.0.1", port), Health(), CollectorRegistry()),
    ):
        pass
