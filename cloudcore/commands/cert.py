"""``cloudcore cert``: list the certificates of nodes, and shut out a node that is lost."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
import typer

from cloudcore.commands.asking import Kubeconfig, ask
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import ListWatch
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.ledgerentry import Entry
from cloudcore.trust.tokenrecords import TokenRecords
from common.clock import rfc3339
from common.errors import RemoteError
from common.names import NodeID
from common.output import Output, OutputFormat, lay_out, render
from common.podrefs import pod_refs
from common.status import failure

_CERTIFICATES: Final = ("NODE", "SERIAL", "UNTIL", "REVOKED", "AUTHORITY")
_READABLE: Final = ("KIND", "NAMESPACE", "NAME")
_SHORT: Final = 16
"""Digits of an authority's fingerprint in a table."""


def cert_commands() -> typer.Typer:
    """Return the group ``cert``."""
    group = typer.Typer(no_args_is_help=True, help="Certificates of nodes.")
    group.command("list")(list_all)
    group.command("show")(show)
    group.command("revoke")(revoke)
    return group


def list_all(
    *,
    kubeconfig: Kubeconfig = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the last certificate of each node: until when it is good, and whether it is revoked."""
    listing = ask(kubeconfig, lambda client: Ledger(client).list_all())
    entries = sorted(listing.entries.items())
    shown = [_item(node, entry) for node, entry in entries]
    rows = [_row(node, entry) for node, entry in entries]
    typer.echo(render(output, shown, lambda: lay_out(_CERTIFICATES, rows)))
    for fault in listing.damaged:
        typer.echo(fault, err=True)


def show(
    node: Annotated[str, typer.Argument(help="Name of the node.")],
    *,
    kubeconfig: Kubeconfig = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show the last certificate of one node."""
    entry = ask(kubeconfig, lambda client: Ledger(client).find(NodeID(node)))
    if entry is None:
        raise RemoteError(
            failure(404, f"{node} never got a certificate: see `cloudcore cert list`")
        )
    shown = _item(NodeID(node), entry)
    rows = [(key, str(value)) for key, value in shown.items() if value is not None]
    typer.echo(render(output, shown, lambda: lay_out(("WHAT", "VALUE"), rows)))


def revoke(
    node: Annotated[str, typer.Argument(help="Name of the node.")],
    *,
    kubeconfig: Kubeconfig = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Revoke though nothing is known of a node of that name."),
    ] = False,
) -> None:
    """Shut a node out: revoke all its certificates, and the tokens that are bound to its name.

    Its connection ends at once, on whichever cloudcore it is. What its pods name is listed: it was
    able to read that, so that it should be replaced.
    """
    name = NodeID(node)
    tokens = ask(kubeconfig, lambda client: _revoke(client, name, force=force))
    typer.echo(f"the certificates of {node} are revoked", err=True)
    if tokens:
        typer.echo(f"tokens that are revoked with them: {', '.join(tokens)}", err=True)
    rows = readable(ask(kubeconfig, lambda client: _pods(client, name)))
    if rows:
        typer.echo(
            "its pods name these, so that it may have read them: replace what is secret in them."
            " The tokens of its pods end when the pods are deleted:"
            f" kubectl delete pods -A --field-selector spec.nodeName={node}",
            err=True,
        )
        typer.echo(lay_out(_READABLE, rows))
    else:
        typer.echo("its pods name no Secret and no ConfigMap", err=True)
    typer.echo(
        f"to let a machine in under that name again: cloudcore token create --node-name {node}",
        err=True,
    )


def readable(pods: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return kind, namespace and name of what ``pods`` name, Secrets first, each once."""
    secrets: set[tuple[str, str, str]] = set()
    configmaps: set[tuple[str, str, str]] = set()
    for pod in pods:
        namespace, refs = pod["metadata"]["namespace"], pod_refs(pod)
        secrets |= {(kinds.SECRETS.kind, namespace, name) for name in refs.secrets}
        configmaps |= {(kinds.CONFIGMAPS.kind, namespace, name) for name in refs.configmaps}
    return sorted(secrets) + sorted(configmaps)


async def _revoke(client: KubeClient, node: NodeID, *, force: bool) -> list[str]:
    """Revoke certificates and tokens of ``node``; return the names of the tokens."""
    ledger, now = Ledger(client), datetime.now(UTC)
    if not force and await ledger.find(node) is None:
        await _require_node(client, node)
    # Before the certificates: whoever gets one by such a token until then loses it below.
    tokens = await _revoke_tokens(client, node, now)
    await ledger.revoke(node, now)
    return tokens


async def _revoke_tokens(client: KubeClient, node: NodeID, now: datetime) -> list[str]:
    records = TokenRecords(client)
    bound = [
        kept.name
        for kept in (await records.list()).records
        if kept.record.is_bound
        and kept.record.node == node
        and kept.record.revoked is None
        and now < kept.record.expires
    ]
    for name in bound:
        await records.revoke(name, now)
    return bound


async def _require_node(client: KubeClient, node: NodeID) -> None:
    if await client.find(kinds.NODES.path(name=node)) is None:
        text = f"there is neither a Node {node} nor a certificate of it; if that is right: --force"
        raise RemoteError(failure(404, text))


async def _pods(client: KubeClient, node: NodeID) -> list[dict[str, Any]]:
    selector = {"fieldSelector": f"spec.nodeName={node}"}
    listed = await ListWatch(client, kinds.PODS, selector=selector).list_all()
    return [msgspec.json.decode(pod.raw) for pod in listed]


def _row(node: NodeID, entry: Entry) -> list[str]:
    return [
        node,
        entry.serial,
        rfc3339(entry.not_after) if entry.serial else "",
        rfc3339(entry.revoked_at) if entry.revoked_at is not None and entry.is_shut_out else "",
        entry.issuer[:_SHORT],
    ]


def _item(node: NodeID, entry: Entry) -> dict[str, Any]:
    revoked_at = None if entry.revoked_at is None else rfc3339(entry.revoked_at)
    return {
        "node": node,
        "serial": entry.serial or None,
        "until": rfc3339(entry.not_after) if entry.serial else None,
        "revoked": revoked_at if entry.is_shut_out else None,
        "revokedBefore": None if entry.is_shut_out else revoked_at,
        "authority": entry.issuer or None,
    }
