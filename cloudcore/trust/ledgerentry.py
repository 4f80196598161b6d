"""What the ledger says of one node: its last certificate, and whether older ones still count. Pure.

A ConfigMap ``edgecertificate.<node>`` whose key ``certificate`` holds JSON; absent is what is not
known, or does not apply:

==============  ====================================================================================
``serial``      hex, of the certificate that was issued last
``notAfter``    RFC 3339: until when that is good
``key``         SHA-256 of the public key that has it, hex
``issuer``      SHA-256 of the authority's certificate that has signed it, hex
``revokedAt``   RFC 3339: when all certificates that the node had were revoked
``since``       serials that were issued after that: only these are good then
``authority``   SHA-256 of an authority's certificate, hex: the newest that the node has said to
                trust, and has shown a certificate by. Noted while one authority replaces another
==============  ====================================================================================

A node that was ever revoked keeps ``revokedAt``: what was revoked may be renewed long after it has
expired, so it must be known as such for ever. The label ``REVOKED_LABEL`` tells these records from
others; a record that has nothing but the label is that of a revoked node too.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cloudcore.kube import kinds
from cloudcore.trust.keptsecrets import NAMESPACE
from common.clock import parse_rfc3339, rfc3339
from common.issuing import Issued
from common.names import NodeID

REVOKED_LABEL: Final = "cloudedge.io/revoked"

MAX_SINCE: Final = 16
"""Serials that are kept. A node that renews its certificate keeps the old one until the new one is
stored, and where answers get lost, it has asked for some more."""

_KEY: Final = "certificate"
_PREFIX: Final = "edgecertificate."
_HASHED_PREFIX: Final = "edgecertificate-of."
_MAX_NAME_CHARS: Final = 253
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class DamagedRecord(ValueError):
    """A record says what this version cannot read."""


class Entry(Struct, frozen=True):
    """The certificate that a node got last; see the module."""

    serial: str
    """Hex in small letters, as ``serial_text`` writes it; "" where the node never got one here."""

    not_after: datetime
    version: str = ""
    """Of the record; "" for one that is still to be made."""

    key_hash: str = ""
    """Of the public key that has the certificate (``pki.key_hash``); "" where it is not known."""

    issuer: str = ""
    revoked_at: datetime | None = None
    since: tuple[str, ...] = ()
    authority: str = ""

    def accepts(self, serial: int) -> bool:
        """Whether a certificate of this node with that serial number is not revoked."""
        return self.revoked_at is None or serial_text(serial) in self.since

    @property
    def is_shut_out(self) -> bool:
        """Whether all certificates of the node are revoked."""
        return self.revoked_at is not None and not self.since


_EPOCH: Final = datetime.fromtimestamp(0, UTC)

SHUT_OUT: Final = Entry("", _EPOCH, revoked_at=_EPOCH)
"""What is taken for granted of a record that has the label and cannot be read."""


class _Written(msgspec.Struct, omit_defaults=True):
    """An entry as it is written."""

    serial: str
    notAfter: str  # noqa: N815 - spelled as Kubernetes does
    key: str = ""
    issuer: str = ""
    revokedAt: str = ""  # noqa: N815 - as notAfter
    since: tuple[str, ...] = ()
    authority: str = ""


def serial_text(serial: int) -> str:
    """Return a serial number as the ledger writes it."""
    return f"{serial:x}"


def with_issued(
    seen: Entry | None, issued: Issued, issuer: str, presented: int | None = None
) -> Entry:
    """Return what is to be said of a node that gets ``issued``.

    Args:
        seen: what was said of it.
        issued: the new certificate.
        issuer: fingerprint of the authority that has signed it.
        presented: serial of the certificate that is renewed by it; None where there was none.
    """
    serial = serial_text(issued.serial)
    made = Entry(serial, issued.not_after, key_hash=issued.key_hash, issuer=issuer)
    if seen is None:
        return made
    made = replace(made, version=seen.version, authority=seen.authority)
    if seen.revoked_at is None:
        return made
    since = [one for one in seen.since if presented is None or one != serial_text(presented)]
    # The one that is renewed goes last: it is in use until the new one has arrived.
    held = [serial_text(presented)] if presented is not None and seen.accepts(presented) else []
    kept = (*since, *held)[-(MAX_SINCE - 1) :]
    return replace(made, revoked_at=seen.revoked_at, since=(*kept, serial))


def with_revoked(seen: Entry | None, now: datetime) -> Entry:
    """Return what is to be said of a node all of whose certificates are revoked at ``now``."""
    known = seen or Entry("", now)
    return replace(known, revoked_at=now, since=())


def record_name(node: NodeID) -> str:
    """Return the name of the ConfigMap for ``node``: readable, wherever that can be a name."""
    name = f"{_PREFIX}{node}"
    if len(name) <= _MAX_NAME_CHARS and _NAME.fullmatch(node) is not None:
        return name
    return f"{_HASHED_PREFIX}{hashlib.sha256(node.encode()).hexdigest()}"


def is_record(name: str) -> bool:
    """Whether a ConfigMap of that name in ``NAMESPACE`` is a record of the ledger."""
    return name.startswith((_PREFIX, _HASHED_PREFIX))


def record_path(node: NodeID) -> str:
    """Return the path of the record of ``node`` at the API server."""
    return kinds.CONFIGMAPS.path(NAMESPACE, record_name(node))


def to_configmap(node: NodeID, entry: Entry) -> bytes:
    """Return the record of ``node``, as it is to be created or to take the place of another."""
    written = _Written(
        entry.serial,
        rfc3339(entry.not_after),
        entry.key_hash,
        entry.issuer,
        "" if entry.revoked_at is None else rfc3339(entry.revoked_at),
        entry.since,
        entry.authority,
    )
    labels = {} if entry.revoked_at is None else {REVOKED_LABEL: "true"}
    return _configmap(node, msgspec.json.encode(written).decode(), entry.version, labels)


def taken_over(node: NodeID, text: str) -> bytes:
    """Return a record that is to be created of an entry as an earlier version wrote it."""
    return _configmap(node, text, "", {})


def _configmap(node: NodeID, text: str, version: str, labels: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": record_name(node),
                "namespace": NAMESPACE,
                "resourceVersion": version,
                "labels": labels,
            },
            "data": {"node": node, _KEY: text},
        }
    )


def node_of(configmap: Mapping[str, Any]) -> NodeID:
    """Return the node that a record is about, also where the rest of it is damaged.

    Raises:
        DamagedRecord: it does not say.
    """
    name = configmap["metadata"]["name"]
    node = (configmap.get("data") or {}).get("node") or name.removeprefix(_PREFIX)
    if record_name(node) != name:
        raise DamagedRecord(f"ConfigMap {NAMESPACE}/{name}: damaged, delete it: whose is it?")
    return NodeID(node)


def entry_of(configmap: Mapping[str, Any]) -> Entry:
    """Return what a record says.

    Raises:
        DamagedRecord: something that this version cannot read.
    """
    metadata = configmap["metadata"]
    text = (configmap.get("data") or {}).get(_KEY, "")
    try:
        written = msgspec.json.decode(text, type=_Written)
        not_after = parse_rfc3339(written.notAfter)
        revoked_at = parse_rfc3339(written.revokedAt) if written.revokedAt else _by_label(metadata)
    except (msgspec.DecodeError, ValueError) as error:
        where = f"ConfigMap {NAMESPACE}/{metadata['name']}"
        raise DamagedRecord(f"{where}: damaged, delete it: {error}") from error
    return Entry(
        written.serial,
        not_after,
        metadata["resourceVersion"],
        written.key,
        written.issuer,
        revoked_at,
        written.since,
        written.authority,
    )


def _by_label(metadata: Mapping[str, Any]) -> datetime | None:
    return _EPOCH if REVOKED_LABEL in (metadata.get("labels") or {}) else None
