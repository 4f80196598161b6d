"""What is looked at before an edge joins, so that nobody leaves a machine that cannot work.

Nothing is changed by any of it. Whether the token is good and the name free, the cloud says.
"""

import base64
import binascii
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from common.checks import Finding, Verdict
from edgecore.config import EdgeCoreSettings, RuntimeName

CONNECT_S: Final = 5.0

_TOKEN_PARTS: Final = 4
_UNIX: Final = "unix://"
_CERTIFICATE: Final = ".pem"


def findings(
    settings: EdgeCoreSettings, token: str, now: datetime, *, is_root: bool
) -> Iterator[Finding]:
    """Yield what there is to say before ``settings`` are used to join.

    Args:
        settings: what edgecore will be told.
        token: to join with; "" where the machine has a certificate.
        now: by this machine's clock.
        is_root: whether the machine may be changed.
    """
    yield (
        Finding("permission", Verdict.OK, "root")
        if is_root
        else Finding("permission", Verdict.FAIL, "not root", "run it with sudo")
    )
    yield name_finding(settings)
    if token:
        yield token_finding(token, now)
    for port, what in (
        (settings.https_port, "--https-port"),
        (settings.websocket_port, "--websocket-port"),
    ):
        yield port_finding(settings.cloud, port, what)
    if settings.runtime is RuntimeName.CRI:
        yield engine_finding(settings.runtime_endpoint)


def name_finding(settings: EdgeCoreSettings) -> Finding:
    """Say whether this machine is already a node of another name."""
    others = [
        path.stem
        for path in (settings.data_dir / "pki").glob(f"*{_CERTIFICATE}")
        if path.stem != settings.node_name
    ]
    if others:
        return Finding(
            "name",
            Verdict.FAIL,
            f"this machine is node {others[0]} already",
            f"give --node-name {others[0]}, or run `edgecore reset` first",
        )
    return Finding("name", Verdict.OK, settings.node_name)


def token_finding(token: str, now: datetime) -> Finding:
    """Say whether ``token`` looks like one, and has not expired by this machine's clock."""
    again = "get another one: `cloudcore token create`"
    parts = token.split(".")
    if len(parts) != _TOKEN_PARTS or not all(parts):
        return Finding("token", Verdict.FAIL, "not a join token: it has four parts", again)
    try:
        padded = parts[2] + "=" * (-len(parts[2]) % 4)
        until = float(json.loads(base64.urlsafe_b64decode(padded))["exp"])
        end = datetime.fromtimestamp(until, UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return Finding("token", Verdict.WARN, "does not say until when it is good", again)
    if end <= now:
        # Not a failure: this machine's clock may be wrong, and the cloud's is what counts.
        return Finding(
            "token", Verdict.WARN, f"expired on {end:%Y-%m-%d %H:%M} by our clock", again
        )
    return Finding("token", Verdict.OK, f"good until {end:%Y-%m-%d %H:%M} UTC")


def port_finding(host: str, port: int, option: str) -> Finding:
    """Say whether something listens at the cloud's ``port``."""
    name = f"port {port}"
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        words = error.strerror or str(error)
        return Finding(
            name,
            Verdict.FAIL,
            f"{host} cannot be reached: {words}",
            f"see that cloudcore runs, that {host} is its address, and that firewalls let {option}"
            " through",
        )
    return Finding(name, Verdict.OK, f"{host} answers")


def engine_finding(endpoint: str) -> Finding:
    """Say whether the container engine listens at ``endpoint``."""
    path = Path(endpoint.removeprefix(_UNIX))
    fix = (
        "start containerd or CRI-O, name its socket by --set runtime_endpoint=…, or give --runtime"
        " process"
    )
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(CONNECT_S)
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            words = error.strerror or str(error)
            return Finding("container engine", Verdict.FAIL, f"{endpoint}: {words}", fix)
    return Finding("container engine", Verdict.OK, f"{endpoint} answers")
