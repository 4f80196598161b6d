"""Requests of a pod's spec: pure, nothing faked; what becomes of them is in ``test_httpget``."""

from typing import Any

import pytest

from edgecore.edged.probes.httprequest import (
    PortError,
    RedirectError,
    Request,
    port_of,
    redirected,
    request_of,
)
from tests.edgecore.edged.world import container

CONTAINER = container("c", ports=[{"name": "web", "containerPort": 8080}, {"containerPort": 1}])


def request(**action: Any) -> Request:
    return request_of({"port": 80, "path": "/a/b"} | action, CONTAINER, "10.0.0.9", "probe")


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("web", 8080), ("81", 81), (65535, 65535)])
def test_a_port_is_a_number_or_the_name_of_a_container_port(port: object, number: int) -> None:
    assert port_of(port, CONTAINER) == number


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("nope", "port nope not found"),
        (0, "invalid port number: 0"),
        ("65536", "invalid port number: 65536"),
        (None, "port None not found"),
    ],
)
def test_a_port_that_is_none_is_refused(port: object, words: str) -> None:
    with pytest.raises(PortError, match=words):
        port_of(port, CONTAINER)


@pytest.mark.parametrize(
    ("action", "url"),
    [
        ({"port": 80}, "http://10.0.0.9:80/"),
        (
            {"port": "web", "path": "/healthz?full=1&x=a/b"},
            "http://10.0.0.9:8080/healthz?full=1&x=a/b",
        ),
        ({"port": 80, "path": "no/slash"}, "http://10.0.0.9:80/no/slash"),
        ({"port": 80, "path": "/a b/%20ü"}, "http://10.0.0.9:80/a%20b/%20%C3%BC"),
        ({"port": 80, "path": "/a#part"}, "http://10.0.0.9:80/a"),
        ({"port": 80, "path": "http://[broken/"}, "http://10.0.0.9:80/http://%5Bbroken/"),
        ({"port": 443, "scheme": "HTTPS", "host": "db"}, "https://db:443/"),
        ({"port": 80, "host": "fd00::1"}, "http://[fd00::1]:80/"),
    ],
)
def test_who_is_asked_for_what_is_as_the_spec_says(action: dict[str, Any], url: str) -> None:
    assert str(request_of(action, CONTAINER, "10.0.0.9", "probe").url) == url


def test_headers_have_kubelet_defaults_that_the_spec_may_replace_or_remove() -> None:
    assert request().headers == (("User-Agent", "kube-probe/1.36"), ("Accept", "*/*"))
    given = [
        {"name": "accept", "value": ""},
        {"name": "USER-AGENT", "value": "me"},
        {"name": "X-Twice", "value": "1"},
        {"name": "X-Twice", "value": "2"},
        {"name": "X-Empty"},
        {"name": "Connection", "value": "keep-alive"},
        {"name": "Content-Length", "value": "5"},
    ]
    wanted = (("USER-AGENT", "me"), ("X-Twice", "1"), ("X-Twice", "2"), ("X-Empty", ""))
    assert request(httpHeaders=given).headers == wanted


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("c?d=e", "http://10.0.0.9:80/a/c?d=e"),
        ("/c d", "http://10.0.0.9:80/c%20d"),
        ("//other/", "http://other:80/"),
        ("https://10.0.0.9", "https://10.0.0.9:443/"),
        ("https://10.0.0.9:8443/x%2Fy", "https://10.0.0.9:8443/x%2Fy"),
    ],
)
def test_a_redirect_is_relative_to_what_was_asked(location: str, url: str) -> None:
    assert str(redirected(request(), location).url) == url


def test_a_host_header_of_the_spec_goes_along_as_long_as_no_other_host_is_named() -> None:
    headers = [{"name": "Host", "value": "shop.example"}]
    asked = request(httpHeaders=headers)
    assert redirected(asked, "/c").headers == asked.headers
    assert ("Host", "shop.example") not in redirected(asked, "http://10.0.0.9/c").headers


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("ftp://10.0.0.9/", 'unsupported protocol scheme "ftp"'),
        ("http://[x/", "failed to parse Location header"),
        ("http://10.0.0.9:x/", "failed to parse Location header"),
    ],
)
def test_a_redirect_that_makes_no_sense_is_refused(location: str, words: str) -> None:
    with pytest.raises(RedirectError, match=words):
        redirected(request(), location)
