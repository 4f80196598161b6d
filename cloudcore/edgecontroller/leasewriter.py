"""Writes one lease at a time on behalf of its node: takes it over, and renews it.

Each write names the version that it replaces. Where there is another one, another cloudcore may
have taken the node over since, by a newer connection; then nothing is written any more.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from cloudcore.edgecontroller.leaseform import (
    SERVED_BY,
    FoundLease,
    LeaseForm,
    advanced,
    form_for,
    notes_of,
    parse_lease,
    version_in,
)
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube import kinds
from cloudcore.kube.views import ObjectKey
from common.clock import Clock
from common.errors import RemoteError
from common.names import NODE_LEASE_NAMESPACE, UID, NodeID

_ATTEMPTS: Final = 3
_COLLECTION: Final = kinds.LEASES.path(NODE_LEASE_NAMESPACE)


class Outcome(StrEnum):
    """What became of an attempt to write a lease, as it is counted."""

    RENEWED = "renewed"
    CLAIMED = "claimed"
    """Taken over, or made."""

    OVERTAKEN = "overtaken"
    """Another cloudcore serves the node now."""

    NO_NODE = "no_node"
    """There is neither a lease nor a Node that a new one could belong to."""

    NO_BEAT = "no_beat"
    """There is nothing to write that the node has vouched for."""

    CONTENDED = "contended"
    """Somebody else wrote it again and again."""


class LeaseClient(Protocol):
    """What is asked of the API server."""

    async def get(self, path: str, *, as_node: NodeID | None = None) -> bytes:
        """See ``cloudcore.kube.client``."""

    async def create(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        """See ``cloudcore.kube.client``."""

    async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        """See ``cloudcore.kube.client``."""


@dataclass(slots=True)
class Tenure:
    """The lease of a node, for as long as one connection lasts."""

    node: NodeID
    connection: str
    holder: str
    """Who renews the lease, as its annotation says: ``<replica>/<id of the connection>``."""

    since: datetime
    """When the node connected."""

    backlog: int = 0
    """Objects that the node had not acknowledged at its last beat."""

    form: LeaseForm | None = None
    """None until it is taken over."""

    version: str = ""
    renewed: datetime | None = None
    beat_s: float | None = None
    """When the first beat came that no renewal has been made for; None where none has."""

    tried_s: float = float("-inf")
    """When a renewal was tried last."""

    progresses: bool = True
    is_over: bool = False
    path: str = field(init=False)
    """Where the lease is."""

    notes: dict[str, str] = field(init=False)
    """Its annotations."""

    def __post_init__(self) -> None:
        """Build what stays the same once."""
        self.notes = {
            SERVED_BY: self.holder,
            **notes_of(self.holder.rpartition("/")[0], self.since),
        }
        self.path = kinds.LEASES.path(NODE_LEASE_NAMESPACE, self.node)


class LeaseWriter:
    """Writes leases; what it knows of one is in its tenure."""

    def __init__(self, client: LeaseClient, state: ClusterState, clock: Clock) -> None:
        """Write by ``client``; ``state`` knows the Nodes that leases belong to."""
        self._client, self._state, self._clock = client, state, clock

    async def write(self, tenure: Tenure, *, is_alive: bool) -> Outcome:
        """Take the lease over if that was not done yet; renew it if the node ``is_alive``.

        Raises:
            RemoteError: the API server refuses, or is away.

        Cancellation: the lease may have been written, which the next attempt finds out.
        """
        if tenure.form is None:
            return await self._take_over(tenure, await self._read(tenure), is_alive=is_alive)
        if not is_alive:
            return Outcome.NO_BEAT
        moment = advanced(self._clock.now(), tenure.renewed)
        body = tenure.form.fill(tenure.version, moment, tenure.backlog)
        try:
            written = await self._client.update(tenure.path, body, as_node=tenure.node)
        except RemoteError as error:
            if not error.status.is_conflict and not error.status.is_not_found:
                raise
        else:
            tenure.version, tenure.renewed = version_in(written), moment
            return Outcome.RENEWED
        found = await self._read(tenure)
        if found is not None and found.is_newer(tenure.holder, tenure.version):
            return Outcome.OVERTAKEN
        return await self._take_over(tenure, found, is_alive=is_alive)

    async def _take_over(
        self, tenure: Tenure, found: FoundLease | None, *, is_alive: bool
    ) -> Outcome:
        """Put our name on the lease, and a later time only if the node ``is_alive``.

        Whoever else puts another name there between our look and our write came after us.
        """
        seen = ("", tenure.holder, "" if found is None else found.holder)
        for _ in range(_ATTEMPTS):
            before = None if found is None else found.renewed
            if found is None and self._uid_of(tenure.node) is None:
                return Outcome.NO_NODE
            if tenure.is_over or (before is None and not is_alive):
                return Outcome.NO_BEAT
            moment = advanced(self._clock.now(), before) if is_alive or before is None else before
            try:
                await self._replace(tenure, found, moment)
            except RemoteError as error:
                if not error.status.is_conflict:
                    raise
            else:
                return Outcome.CLAIMED
            found = await self._read(tenure)
            if found is not None and found.holder not in seen:
                return Outcome.OVERTAKEN
        return Outcome.CONTENDED

    async def _replace(self, tenure: Tenure, found: FoundLease | None, moment: datetime) -> None:
        node, owner = tenure.node, self._uid_of(tenure.node)
        form = form_for(node, tenure.notes, owner, found)
        if found is None:
            body = form.fill("", moment, tenure.backlog)
            written = await self._client.create(_COLLECTION, body, as_node=node)
            # With its UID: the API server would make a lease anew that was deleted with its Node.
            form = form_for(node, tenure.notes, owner, parse_lease(written))
        else:
            body = form.fill(found.version, moment, tenure.backlog)
            written = await self._client.update(tenure.path, body, as_node=node)
        tenure.form, tenure.version, tenure.renewed = form, version_in(written), moment

    async def _read(self, tenure: Tenure) -> FoundLease | None:
        try:
            return parse_lease(await self._client.get(tenure.path, as_node=tenure.node))
        except RemoteError as error:
            if error.status.is_not_found:
                return None
            raise

    def _uid_of(self, node: NodeID) -> UID | None:
        identity = self._state.nodes.cache.identity(ObjectKey("", node))
        return None if identity is None else identity[0]
