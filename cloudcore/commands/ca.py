"""``cloudcore ca``: replace the authority without leaving an edge behind."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec import Struct

from cloudcore.commands.asking import Kubeconfig, ask
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.views import NodeView
from cloudcore.trust import authoritystore
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.authoritystore import RotationError
from cloudcore.trust.enroll import RENEWAL_GRACE
from cloudcore.trust.followers import Behind, behind
from cloudcore.trust.ledger import Ledger
from common import pki
from common.clock import rfc3339
from common.names import EDGE_NODE_LABEL, NodeID
from common.output import Output, OutputFormat, lay_out, render

Grace = Annotated[
    int,
    typer.Option(
        "--renewal-grace-days",
        min=0,
        help="What `cloudcore run` is told: who may still renew a certificate is waited for.",
    ),
]
_GRACE_DAYS: Final = RENEWAL_GRACE.days

_AUTHORITIES: Final = ("AUTHORITY", "STATE", "UNTIL")
_NODES: Final = ("NODE", "CERTIFICATE-BY", "UNTIL", "READY")
_NAMED: Final = 20
"""Nodes that are named one by one in an error."""


class Status(Struct, frozen=True):
    """How far a rotation has come."""

    authorities: Authorities
    behind: list[Behind]
    """Nobody where no authority is replaced."""

    damaged: list[str]
    """What to do about each record that cannot be read."""


def ca_commands() -> typer.Typer:
    """Return the group ``ca``."""
    group = typer.Typer(
        no_args_is_help=True, help="The authority that signs certificates, and its replacement."
    )
    group.command("status")(status)
    group.command("rotate")(rotate)
    group.command("finish")(finish)
    return group


def status(
    *,
    kubeconfig: Kubeconfig = None,
    renewal_grace_days: Grace = _GRACE_DAYS,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show which authorities are trusted, and the nodes that have not got the newest one yet."""
    grace = timedelta(days=renewal_grace_days)
    found = ask(kubeconfig, lambda client: _status(client, grace))
    typer.echo(render(output, _shown(found), lambda: _text(found)))
    for fault in found.damaged:
        typer.echo(fault, err=True)


def rotate(*, kubeconfig: Kubeconfig = None) -> None:
    """Make a new authority that signs from now on; the old one is trusted until `ca finish`.

    Running cloudcores and their edges take it over by themselves.
    """
    made = ask(kubeconfig, _rotate)
    typer.echo(f"the authority is now {made.fingerprint}")
    typer.echo(
        "running cloudcores take it over within seconds, and edges when they connect; tokens with"
        " the old one's hash are good until they expire. `cloudcore ca status` tells who is"
        " missing; when nobody is: `cloudcore ca finish`",
        err=True,
    )


def finish(
    *,
    kubeconfig: Kubeconfig = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Leave those behind that have not got the new authority."),
    ] = False,
    renewal_grace_days: Grace = _GRACE_DAYS,
) -> None:
    """Trust the old authority no more; refused while that would leave a node behind."""

    async def work(client: KubeClient) -> Status:
        found = await _status(client, timedelta(days=renewal_grace_days))
        if not force:
            _require_nobody(found)
        await authoritystore.finish(client, found.authorities.fingerprint)
        return found

    found = ask(kubeconfig, work)
    typer.echo(f"the only authority is now {found.authorities.fingerprint}")
    for one in found.behind:
        typer.echo(f"left behind: {one.node}")
    if found.behind or found.damaged:
        typer.echo(
            "who is left behind has to be enrolled anew: `cloudcore token create --node-name NAME`",
            err=True,
        )


async def _rotate(client: KubeClient) -> Authorities:
    return await authoritystore.rotate(client, datetime.now(UTC))


async def _status(client: KubeClient, grace: timedelta) -> Status:
    authorities = await authoritystore.find_authorities(client)
    if authorities is None:
        raise RotationError("there is no authority yet: `cloudcore run` makes one")
    if authorities.previous is None:
        return Status(authorities, [], [])
    listing = await Ledger(client).list_all()
    may_return_from = datetime.now(UTC) - grace
    nodes = await _edge_nodes(client)
    left = behind(listing.entries, nodes, authorities.fingerprint, may_return_from)
    return Status(authorities, left, listing.damaged)


async def _edge_nodes(client: KubeClient) -> dict[NodeID, str]:
    selector = {"labelSelector": EDGE_NODE_LABEL}
    found = client.items(kinds.NODES.path(), selector)
    nodes = [msgspec.convert(one, NodeView) async for one in found]
    return {NodeID(one.metadata.name): one.ready for one in nodes}


def _require_nobody(found: Status) -> None:
    names = [one.node for one in found.behind]
    if names:
        shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        raise RotationError(
            "nodes would be left behind, which have not got the new authority"
            f" ({len(names)}): {shown}. See `cloudcore ca status`; to leave them behind: --force"
        )
    if found.damaged:
        raise RotationError(
            "of some nodes it is not known whether they would be left behind; to go on: --force\n"
            + "\n".join(found.damaged)
        )


def _text(found: Status) -> str:
    authorities = lay_out(_AUTHORITIES, [list(row.values()) for row in _trusted(found)])
    if found.authorities.previous is None:
        return authorities
    if not found.behind:
        return f"{authorities}\n\nall nodes have got the new one: `cloudcore ca finish`"
    nodes = [
        [
            one.node,
            "new" if one.has_certificate else "old",
            rfc3339(one.until) if one.until else "",
            one.ready,
        ]
        for one in found.behind
    ]
    return f"{authorities}\n\nnot yet there:\n{lay_out(_NODES, nodes)}"


def _shown(found: Status) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [
        {
            "node": one.node,
            "hasCertificate": one.has_certificate,
            "until": rfc3339(one.until) if one.until else None,
            "ready": one.ready or None,
        }
        for one in found.behind
    ]
    return {"authorities": _trusted(found), "behind": nodes}


def _trusted(found: Status) -> list[dict[str, str]]:
    return [
        {
            "fingerprint": pki.fingerprint(one.der),
            "state": "signs" if one is found.authorities.current else "replaced",
            "until": rfc3339(one.certificate.not_valid_after_utc),
        }
        for one in found.authorities.trusted
    ]
