"""What a request to the local endpoint asks for, and whether it may. Pure.

The paths are those of a kubelet, so that who knows one knows this one.

Source: Kubernetes pkg/kubelet/server/server.go.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

T = TypeVar("T")

DEFAULT_EXEC_TIMEOUT_S: Final = 10.0
MAX_EXEC_TIMEOUT_S: Final = 300.0

_MAX_FIELDS: Final = 100
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_BEARER: Final = re.compile(r"[Bb]earer +(\S+)")
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}


class RefusalError(Exception):
    """A request that is not answered; ``code`` is that of HTTP, the text is for people."""

    def __init__(self, code: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.code = code


class Target(Struct, frozen=True):
    """A container of a pod, by names."""

    namespace: str
    pod: str
    container: str


class GetHealth(Struct, frozen=True):
    """Whether edged works. Open to everybody on the machine, unlike the others."""


class GetPods(Struct, frozen=True):
    """The pods that edged runs."""


class GetSummary(Struct, frozen=True):
    """What everything takes, as JSON."""


class GetMetrics(Struct, frozen=True):
    """What everything takes, for Prometheus."""


class GetLogs(Struct, frozen=True):
    """What a container wrote."""

    target: Target
    previous: bool = False
    """Of the start before the last one."""
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: int | None = None
    """Seconds ago."""
    limit_bytes: int | None = None


class PostExec(Struct, frozen=True):
    """Run a command in a container and tell how it ended."""

    target: Target
    command: tuple[str, ...]
    timeout_s: float = DEFAULT_EXEC_TIMEOUT_S


Wanted: TypeAlias = GetHealth | GetPods | GetSummary | GetMetrics | GetLogs | PostExec

_FIXED: Final[Mapping[str, Wanted]] = {
    "/healthz": GetHealth(),
    "/pods": GetPods(),
    "/stats/summary": GetSummary(),
    "/metrics/resource": GetMetrics(),
}


def parse_address(text: str) -> tuple[str, int]:
    """Return the address that ``text`` (``127.0.0.1:10350``, ``[::1]:10350``) names.

    Raises:
        ValueError: it is none, or not one of loopback: the endpoint speaks plain HTTP.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ValueError(f"expected ADDRESS:PORT, not {text!r}")
    if not _is_loopback(host):
        raise ValueError(f"{host!r} is no address of loopback, such as 127.0.0.1")
    return host, int(port)


def is_local_host(header: str) -> bool:
    """Whether the header ``Host`` names loopback.

    A page in a browser on this machine may send requests here under a name that its owner points
    at loopback; that name stands in the header then.
    """
    try:
        parts = urlsplit(f"//{header}")
        return parts.hostname == "localhost" or _is_loopback(parts.hostname or "")
    except ValueError:
        return False


def is_authorized(header: str, token: str) -> bool:
    """Whether the header ``Authorization`` has the token; takes as long for each wrong one."""
    found = _BEARER.fullmatch(header)
    given = found[1] if found is not None else ""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def route(method: str, target: str) -> Wanted:
    """Return what a request asks for.

    Args:
        method: of HTTP.
        target: path and query.

    Raises:
        RefusalError: nobody answers that.
    """
    path, _, query = target.partition("?")
    wanted = _FIXED.get(path)
    parts = path.split("/")
    kind = parts[1] if len(parts) > 1 else ""
    if wanted is None and kind not in {"containerLogs", "exec"}:
        raise RefusalError(
            HTTPStatus.NOT_FOUND,
            "try /healthz, /pods, /stats/summary, /metrics/resource,"
            " /containerLogs/NAMESPACE/POD/CONTAINER or /exec/NAMESPACE/POD/CONTAINER",
        )
    allowed = "POST" if kind == "exec" else "GET"
    if method != allowed:
        raise RefusalError(HTTPStatus.METHOD_NOT_ALLOWED, f"use {allowed}")
    if wanted is not None:
        return wanted
    fields = _fields(query)
    return _exec(parts, fields) if kind == "exec" else _logs(parts, fields)


def _logs(parts: list[str], fields: Mapping[str, list[str]]) -> GetLogs:
    if _one(fields, "follow", _truth) is True:
        raise _bad("follow: not here; ask again with sinceSeconds")
    return GetLogs(
        _target(parts),
        previous=_one(fields, "previous", _truth) is True,
        timestamps=_one(fields, "timestamps", _truth) is True,
        tail_lines=_one(fields, "tailLines", _count),
        since_s=_one(fields, "sinceSeconds", _count),
        limit_bytes=_one(fields, "limitBytes", _count),
    )


def _exec(parts: list[str], fields: Mapping[str, list[str]]) -> PostExec:
    command = tuple(fields.get("command", ()))
    if not command:
        raise _bad("command: at least one is wanted, each part of it as a parameter of its own")
    timeout_s = _one(fields, "timeout", _seconds)
    return PostExec(_target(parts), command, timeout_s or DEFAULT_EXEC_TIMEOUT_S)


def _target(parts: list[str]) -> Target:
    names = [unquote(part) for part in parts[2:]]
    if len(names) != 3 or not all(_NAME.fullmatch(name) for name in names):
        raise RefusalError(HTTPStatus.NOT_FOUND, "expected NAMESPACE/POD/CONTAINER")
    return Target(*names)


def _fields(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise _bad(f"at most {_MAX_FIELDS} parameters") from error


def _one(fields: Mapping[str, list[str]], name: str, parse: Callable[[str], T]) -> T | None:
    if name not in fields:
        return None
    try:
        return parse(fields[name][0])
    except (KeyError, ValueError) as error:
        raise _bad(f"{name}: cannot be {fields[name][0][:32]!r}") from error


def _truth(text: str) -> bool:
    return _TRUTHS[text.lower()]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ValueError
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_EXEC_TIMEOUT_S:
        raise ValueError
    return seconds


def _bad(message: str) -> RefusalError:
    return RefusalError(HTTPStatus.BAD_REQUEST, message)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
