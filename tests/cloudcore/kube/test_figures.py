"""What is counted of requests. Real prometheus_client shows it."""

from prometheus_client import CollectorRegistry

from cloudcore.kube.figures import RequestFigures


def test_requests_are_counted_by_verb_and_code_and_their_time_by_verb() -> None:
    registry = CollectorRegistry()
    figures = RequestFigures(registry)
    figures.made("GET", 200, 10.0, 10.5)
    figures.made("GET", 404, 11.0, 11.25)
    sample = registry.get_sample_value
    assert sample("cloudcore_apiserver_requests_total", {"verb": "GET", "code": "404"}) == 1
    assert sample("cloudcore_apiserver_request_seconds_sum", {"verb": "GET"}) == 0.75


def test_an_api_server_that_is_away_has_not_answered() -> None:
    figures = RequestFigures(CollectorRegistry())
    figures.made("GET", 503, 1.0, 2.0)
    figures.made("GET", 504, 2.0, 3.0)
    assert figures.answered_s is None
    figures.made("GET", 403, 3.0, 4.0)
    assert figures.answered_s == 4.0


def test_the_places_for_requests_are_those_that_there_are_when_somebody_asks() -> None:
    registry, reads = CollectorRegistry(), 64
    RequestFigures(registry).show_places(lambda: reads, lambda: 7)
    reads = 32
    shown = {
        kind: registry.get_sample_value("cloudcore_apiserver_places", {"kind": kind})
        for kind in ("reads", "writes")
    }
    assert shown == {"reads": 32, "writes": 7}
