"""What is looked at before an edge joins, so that nobody leaves a machine that cannot work.

Beside what is new about a machine that joins, it is what ``edgecore doctor`` looks at. Nothing is
changed by any of it. Whether the token is good and the name free, the cloud says.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from common.checks import Finding, Verdict
from edgecore.config import EdgeCoreSettings
from edgecore.doctor import lookcloud, lookkept, lookmachine, machine, reach

_TOKEN_PARTS: Final = 4
_CERTIFICATE: Final = ".pem"
_OF_THE_DAEMON: Final = frozenset({"edgecore", "versions", "user"})
"""What is found about an edgecore that runs: before it is there, that is no news."""


def findings(
    settings: EdgeCoreSettings, token: str, now: datetime, *, is_root: bool
) -> Iterator[Finding]:
    """Yield what there is to say before ``settings`` are used to join; blocks for seconds.

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
    authorities = lookkept.authorities_of(settings.data_dir)
    yield from reach.judge(lookcloud.look(settings, authorities, None))
    for finding in machine.judge(lookmachine.look(settings.data_dir, settings)):
        if finding.name not in _OF_THE_DAEMON:
            yield finding


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
