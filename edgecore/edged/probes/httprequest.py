"""What an ``httpGet`` of a pod's spec asks for, as it goes over the wire. Pure.

Source: Kubernetes pkg/probe/http/request.go and pkg/probe/util.go.
"""

from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from edgecore.edged.node.node import KUBELET_VERSION
from edgecore.edged.podview import Object
from edgecore.edged.probes.probewords import join_host_port

_PORTS: Final = {"http": 80, "https": 443}
_KEPT: Final = "/%:@!$&'()*+,;=~"
_AGENT_VERSION: Final = ".".join(KUBELET_VERSION.removeprefix("v").split(".")[:2])
# The connection is ours to describe, whatever a pod's spec says of it.
_OWN_HEADERS: Final = frozenset({"connection", "content-length", "transfer-encoding", "trailer"})


class PortError(Exception):
    """A port is named that the container does not have, or is none."""


class RedirectError(Exception):
    """A redirect leads nowhere; the text says why."""


class Url(Struct, frozen=True):
    """Whom to ask for what; ``path`` is as it goes over the wire, with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def address(self) -> str:
        """Host and port, as a Host header and messages have them."""
        return join_host_port(self.host, self.port)

    def __str__(self) -> str:
        """Return the form that everybody knows."""
        return f"{self.scheme}://{self.address}{self.path}"


class Request(Struct, frozen=True):
    """What to send."""

    url: Url
    headers: tuple[tuple[str, str], ...]
    """Without Host, unless the pod's spec has one."""


def port_of(port: object, container: Object) -> int:
    """Return the number of a port that is given as a number or as the name of a container's port.

    Raises:
        PortError: there is none of this name, or it is out of range.
    """
    number = port
    if isinstance(port, str):
        named = (p for p in container.get("ports") or () if p.get("name") == port)
        number = next((p["containerPort"] for p in named), port)
    try:
        value = int(str(number))
    except ValueError as error:
        raise PortError(f"port {port} not found") from error
    if not 0 < value <= 65535:
        raise PortError(f"invalid port number: {value}")
    return value


def request_of(http_get: Object, container: Object, ip: str, purpose: str) -> Request:
    """Return the request that an ``httpGet`` of a pod's spec stands for.

    Args:
        http_get: with ``port``, and perhaps ``host``, ``scheme``, ``path`` and ``httpHeaders``.
        container: the part of the spec that it belongs to.
        ip: whom to ask where no host is given.
        purpose: ``probe`` or ``lifecycle``; stands in the User-Agent.

    Raises:
        PortError: its port makes no sense.
    """
    port = port_of(http_get.get("port"), container)
    scheme = (http_get.get("scheme") or "HTTP").lower()
    url = Url(scheme, http_get.get("host") or ip, port, _wire_path(http_get.get("path") or ""))
    given = [(h["name"], h.get("value", "")) for h in http_get.get("httpHeaders") or ()]
    defaults = {"User-Agent": f"kube-{purpose}/{_AGENT_VERSION}", "Accept": "*/*"}
    names = {name.lower() for name, _ in given}
    headers = [(name, value) for name, value in defaults.items() if name.lower() not in names]
    # Given but empty, these two are left out.
    headers += [h for h in given if h[1] or h[0].lower() not in {"user-agent", "accept"}]
    return Request(url, tuple(h for h in headers if h[0].lower() not in _OWN_HEADERS))


def redirected(request: Request, location: str) -> Request:
    """Return the request that a redirect asks for.

    Raises:
        RedirectError: it leads nowhere.
    """
    try:
        parts = urlsplit(urljoin(str(request.url), location))
        port = parts.port
        is_relative = not urlsplit(location).netloc
    except ValueError as error:
        raise RedirectError(f"failed to parse Location header {location!r}: {error}") from error
    if parts.scheme not in _PORTS:
        raise RedirectError(f'Get "{location}": unsupported protocol scheme "{parts.scheme}"')
    path = _encoded(parts.path, parts.query)
    url = Url(parts.scheme, parts.hostname or "", port or _PORTS[parts.scheme], path)
    headers = tuple(h for h in request.headers if is_relative or h[0].lower() != "host")
    return replace(request, url=url, headers=headers)


def _wire_path(path: str) -> str:
    """Return the path and the query of what a pod's spec calls a path."""
    try:
        parts = urlsplit(path)
    except ValueError:
        return _encoded(path, "")
    return _encoded(parts.path, parts.query)


def _encoded(path: str, query: str) -> str:
    encoded = "/" + quote(path.removeprefix("/"), safe=_KEPT)
    return f"{encoded}?{quote(query, safe=_KEPT + '?')}" if query else encoded
