"""What all tests share: hypothesis, event loops, one real control plane and container engine."""

import asyncio
import asyncio.sslproto
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop

from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.machine import why_not
from deploy.devcluster.wire import why_not as why_no_wire

if (3, 11, 1) <= sys.version_info < (3, 11, 4):
    # On asyncio's own loop these versions fail when a TLS connection is closed and then aborted
    # (CPython's fault, mended in 3.11.4). The daemons run on uvloop and do not meet it.
    def _close(transport: Any) -> None:
        if not transport._closed:
            transport._closed = True
            transport._ssl_protocol._start_shutdown()

    setattr(asyncio.sslproto._SSLProtocolTransport, "close", _close)  # noqa: B010 - mypy forbids =

# A failure found here is found again by everybody; `nightly` is for finding new ones.
hypothesis.settings.register_profile("ci", derandomize=True, max_examples=200, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


_MARKERS = {"control_plane": "e2e", "own_api": "e2e", "containers_run": "containers"}
_E2E = Path(__file__).with_name("e2e")
_PATIENCE_S = 180.0
"""For a test that starts what is real, or is the first to need it, on a machine that has much to do
besides: its components alone may take a minute each. Its own waits say what they have waited for;
this ends what hangs."""


class _Loop(asyncio.SelectorEventLoop):
    """asyncio's own event loop, which waits for no farewells when it is closed.

    A TLS connection that was closed waits for its peer's. Where that comes after the end of a test,
    a later one would fail for the socket that was left. What nobody has closed is left, as ever.
    """

    def close(self) -> None:
        if not self.is_closed():
            transports: Mapping[int, Any] = getattr(self, "_transports", {})
            for transport in list(transports.values()):
                if _is_closing(transport):
                    transport.abort()
            self.call_soon(self.stop)
            self.run_forever()  # for a turn: sockets are closed by callbacks
        super().close()


def _is_closing(transport: Any) -> bool:
    above = getattr(transport.get_protocol(), "_app_transport", None)  # what TLS shows of it
    return transport.is_closing() or (above is not None and above.is_closing())


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A complete control plane, the same for all tests of the session.

    A test makes a namespace and nodes of its own. One that stops or kills a component wants a
    ``ControlPlane`` of its own as well.

    Not an async fixture: it would start again for every test with another event loop.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        running = ControlPlane(tmp_path_factory.mktemp("control-plane"))
        runner.run(running.start())
        yield running
        runner.run(running.stop())


@pytest.fixture(scope="session")
def containers_run() -> None:
    """Skips the tests that take it, and says why, where no container can run."""
    reason = why_not()
    if reason:
        pytest.skip(f"no container can run here: {reason}")


@pytest.fixture(scope="session")
def wires_run() -> None:
    """Skips the tests that take it, and says why, where no edge can be behind a wire."""
    reason = why_no_wire()
    if reason:
        pytest.skip(f"no edge can have a network of its own here: {reason}")


@pytest.fixture(scope="session")
def container_engine(
    containers_run: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerEngine]:
    """A container engine, the same for all tests of the session; not async, as ``control_plane``.

    A test leaves it running and without sandboxes. One that kills it may start it again or want a
    ``ContainerEngine`` of its own: that takes a fifth of a second.
    """
    del containers_run
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        running = ContainerEngine(tmp_path_factory.mktemp("engine"))
        runner.run(running.start())
        yield running
        runner.run(running.close())


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Async tests run on asyncio's event loop; those marked ``both_loops`` on uvloop as well."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": _Loop}
    if item.get_closest_marker("both_loops") is not None:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known that is set below."""
    config.addinivalue_line(
        "markers", "containers: needs containerd and root (set by itself, from the fixtures)"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nobody has to remember a marker: the fixtures that a test takes tell what it needs."""
    for item in items:
        if isinstance(item, pytest.Function):
            for fixture, marker in _MARKERS.items():
                if fixture in item.fixturenames:
                    item.add_marker(marker)
        is_marked = any(item.get_closest_marker(marker) for marker in _MARKERS.values())
        is_real = is_marked or item.path.is_relative_to(_E2E)
        if is_real and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_PATIENCE_S))
