"""``cloudcore nodes``: which edge nodes are connected, to which cloudcore, and since when."""

import os
import sys
from datetime import datetime
from http import HTTPStatus

import typer
from msgspec import Struct, field

from cloudcore.commands import nodestates
from cloudcore.commands.asking import Kubeconfig, ask
from cloudcore.commands.nodestates import NodeState
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust.ledger import Ledger, Listing
from common.errors import RemoteError
from common.names import EDGE_NODE_LABEL, NODE_LEASE_NAMESPACE, NodeID
from common.output import Output, OutputFormat, has_colours, lay_out, render


class Seen(Struct, frozen=True):
    """The edge nodes of a cluster."""

    states: list[NodeState]
    now: datetime
    """By the clock of the API server."""

    faults: list[str] = field(default_factory=list)
    """What to do about what could not be read."""


def nodes(
    *,
    kubeconfig: Kubeconfig = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the edge nodes: connected where and since when, in step or not, and their certificates.

    BACKLOG counts the objects that a node has not acknowledged. A node counts as connected for 40
    seconds after it was heard of last.
    """
    seen = ask(kubeconfig, see_nodes)
    is_terminal = sys.stdout.isatty()
    tones = nodestates.TONES if has_colours(os.environ, is_terminal=is_terminal) else None
    rows = [nodestates.row(state) for state in seen.states]
    shown = [nodestates.item(state) for state in seen.states]
    typer.echo(render(output, shown, lambda: lay_out(nodestates.HEAD, rows, tones)))
    if output is OutputFormat.TABLE:
        typer.echo(nodestates.summary(seen.states), err=True)
    for fault in seen.faults:
        typer.echo(fault, err=True)


async def see_nodes(client: KubeClient) -> Seen:
    """Return the edge nodes as they are now.

    Raises:
        RemoteError: the API server refuses, or is away. Whoever may not read the records of
            certificates sees the nodes without them.
    """
    selector = {"labelSelector": EDGE_NODE_LABEL}
    found = [node async for node in client.items(kinds.NODES.path(), selector)]
    leases = {
        NodeID(lease["metadata"]["name"]): lease
        async for lease in client.items(kinds.LEASES.path(NODE_LEASE_NAMESPACE))
    }
    listing = await _certificates(client)
    now = await client.server_time()
    return Seen(nodestates.node_states(found, leases, listing.entries, now), now, listing.damaged)


async def _certificates(client: KubeClient) -> Listing:
    try:
        return await Ledger(client).list_all()
    except RemoteError as error:
        if error.status.code != HTTPStatus.FORBIDDEN:
            raise
        return Listing(damaged=[f"certificates are not shown: {error.status.message}"])
