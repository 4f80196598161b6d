"""Looking for a cloud: real sockets and TLS on loopback; the cloud behind them is a small server.

That large packets are swallowed is faked by a server that answers small requests only.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from common import issuing, pki
from common.tls import server_context
from edgecore.config import EdgeCoreSettings
from edgecore.doctor import lookcloud
from tests.edgecore.edged.servers import free_port

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = issuing.new_authority(NOW)
HOST = "127.0.0.1"


class Answers(BaseHTTPRequestHandler):
    limit = 1 << 20

    def do_GET(self) -> None:
        if len(str(self.headers)) > self.limit:
            self.close_connection = True
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, *_: object) -> None:
        pass


class Undated(Answers):
    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return "whenever"


class SmallOnly(Answers):
    limit = 1000


class Tls(HTTPServer):
    def __init__(self, handler: type[Answers], context: ssl.SSLContext) -> None:
        super().__init__((HOST, 0), handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: those who look go away in the midst of it."""


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    key = pki.new_key()
    issued = issuing.issue_server(AUTHORITY, key, [HOST, "cloud.example"], NOW)
    (tmp_path / "s.crt").write_text(pki.cert_to_pem(issued.public_bytes(Encoding.DER)))
    (tmp_path / "s.key").write_bytes(pki.key_to_pem(key))
    made = server_context(tmp_path / "s.crt", tmp_path / "s.key", client_ca_pem=AUTHORITY.pem)
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


@contextmanager
def serving(context: ssl.SSLContext, handler: type[Answers] = Answers) -> Iterator[int]:
    with Tls(handler, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def settings(port: int, cloud: str = HOST) -> EdgeCoreSettings:
    return EdgeCoreSettings(cloud=cloud, websocket_port=port, https_port=port)


def test_a_cloud_in_order_is_seen_as_one(context: ssl.SSLContext) -> None:
    with serving(context) as port:
        reach = lookcloud.look(settings(port), [AUTHORITY.der], NOW)
    assert reach.addresses == (HOST,)
    assert [one.error for one in reach.ports] == ["", ""]
    assert reach.shown is not None
    assert (reach.shown.error, reach.shown.is_named, reach.shown.is_trusted) == ("", True, True)
    assert reach.shown.hosts == (HOST, "cloud.example")
    assert reach.exchanges is not None
    assert (reach.exchanges.small, reach.exchanges.large) == ("", "")
    assert reach.exchanges.date is not None
    assert abs(reach.exchanges.date - reach.now).total_seconds() < 60


def test_another_address_and_another_authority_are_seen(context: ssl.SSLContext) -> None:
    other = issuing.new_authority(NOW).der
    with serving(context) as port:
        reach = lookcloud.look(settings(port, "localhost"), [other], NOW)
        without = lookcloud.look(settings(port), [], NOW)
    assert reach.shown is not None
    assert (reach.shown.is_named, reach.shown.is_trusted) == (False, False)
    assert without.shown is not None
    assert without.shown.is_trusted is None


def test_nobody_there_is_seen() -> None:
    reach = lookcloud.look(settings(free_port()), [], None)
    assert [one.error for one in reach.ports] == ["Connection refused"] * 2
    assert (reach.shown, reach.exchanges) == (None, None)


def test_a_name_that_nobody_knows_is_seen() -> None:
    reach = lookcloud.look(settings(1, "no-such-host.invalid"), [], None)
    assert reach.name_error
    assert lookcloud.look(settings(1, "x" * 70), [], None).name_error


def test_who_speaks_no_tls_is_seen() -> None:
    with HTTPServer((HOST, 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        reach = lookcloud.look(settings(server.server_port), [], None)
        server.shutdown()
        thread.join()
    assert reach.shown is not None
    assert reach.shown.error
    assert reach.exchanges is not None
    assert reach.exchanges.small


def test_who_answers_small_requests_only_is_seen(context: ssl.SSLContext) -> None:
    with serving(context, SmallOnly) as port:
        reach = lookcloud.look(settings(port), [], None)
    assert reach.exchanges is not None
    assert not reach.exchanges.small
    assert reach.exchanges.large


def test_a_cloud_that_tells_no_time_is_borne(context: ssl.SSLContext) -> None:
    with serving(context, Undated) as port:
        reach = lookcloud.look(settings(port), [], None)
    assert reach.exchanges is not None
    assert reach.exchanges.date is None


def test_a_proxy_is_noted_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy:3128")
    reach = lookcloud.look(settings(free_port()), [], None)
    assert reach.proxies["HTTPS_PROXY"] == "http://proxy:3128"
