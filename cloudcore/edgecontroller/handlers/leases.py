"""A node's lease: its heartbeat, and the one thing that may never wait behind anything.

``renewTime`` always advances: the node controller takes a lease for renewed when it sees another
time than before, and a device whose clock was set back would otherwise count as lost.

Source: https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
"""

import socket
from datetime import UTC, datetime
from typing import Any

import msgspec

from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.leaseform import (
    BACKLOG,
    CLOUDCORE,
    CONNECTED_SINCE,
    advanced,
    notes_of,
    renewal_in,
)
from cloudcore.kube import kinds
from common.clock import rfc3339_micro
from common.errors import RemoteError


async def query(call: Call, services: Services) -> Answer:
    """Return the lease as the API server has it."""
    return _answer(call, services, await _get(call, services))


async def create(call: Call, services: Services) -> Answer:
    """Create the lease."""
    lease = call.object()
    _note(call, services, lease)
    path = kinds.LEASES.path(call.key.namespace)
    body = await services.client.create(path, msgspec.json.encode(lease), as_node=call.node)
    return _answer(call, services, body)


async def renew(call: Call, services: Services) -> Answer:
    """Renew the lease.

    Where the node's copy of it is not the API server's, its times go into the one that is there.
    """
    lease = call.object()
    spec = lease.get("spec")
    if not isinstance(spec, dict):
        raise call.invalid("the lease has no spec")
    sent = renewal_in(spec)
    if sent is None:
        raise call.invalid("spec.renewTime is not a time")
    known = services.renewals.get(call.node)
    if known is not None:
        spec["renewTime"] = rfc3339_micro(advanced(sent, known))
        _note(call, services, lease)
        try:
            return _answer(call, services, await _put(call, services, lease))
        except RemoteError as error:
            if not error.status.is_conflict:
                raise
    current = msgspec.json.decode(await _get(call, services), type=dict[str, Any])
    there = current.setdefault("spec", {})
    before = renewal_in(there)
    there.update(spec, renewTime=rfc3339_micro(advanced(sent, before)))
    _note(call, services, current)
    return _answer(call, services, await _put(call, services, current))


async def _get(call: Call, services: Services) -> bytes:
    return await services.client.get(kinds.LEASES.path(*call.key), as_node=call.node)


async def _put(call: Call, services: Services, lease: dict[str, Any]) -> bytes:
    body = msgspec.json.encode(lease)
    return await services.client.update(kinds.LEASES.path(*call.key), body, as_node=call.node)


def _note(call: Call, services: Services, lease: dict[str, Any]) -> None:
    """Have ``lease`` say which cloudcore serves the node; the node has no say in that."""
    metadata = lease.get("metadata")
    if not isinstance(metadata, dict):
        return  # the API server tells what is wrong with it
    said = metadata.get("annotations")
    notes = dict(said) if isinstance(said, dict) else {}
    for name in (CLOUDCORE, CONNECTED_SINCE, BACKLOG):
        notes.pop(name, None)
    peer = services.state.peers.get(call.node)
    if peer is not None:
        since = datetime.fromtimestamp(peer.since_ms / 1000, UTC)
        notes |= notes_of(socket.gethostname(), since)
    metadata["annotations"] = notes


def _answer(call: Call, services: Services, body: bytes) -> Answer:
    """Answer with the lease as it is now, and remember when it was renewed."""
    lease = msgspec.json.decode(body, type=dict[str, Any])
    renewed = renewal_in(lease.get("spec") or {})
    if renewed is not None:
        services.renewals[call.node] = renewed
    return Answer(msgspec.Raw(body))
