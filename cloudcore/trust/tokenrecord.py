"""What is known of a named join token, and whom it lets in. Pure.

The record is a Secret ``edgetoken.<name>`` that all cloudcores share. It has a hash of the token,
never the token: who can read the record cannot join with it. Tokens are signed with a random
``jti`` in them, so nothing can be guessed from the hash.
"""

import base64
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct

from cloudcore.trust.tokens import REMEDY, TokenError
from common.names import NodeID

SECRET_PREFIX: Final = "edgetoken."  # noqa: S105 - how Secrets are called
SECRET_TYPE: Final = "cloudedge.io/join-token"  # noqa: S105 - a type of Secrets
LABEL: Final = "cloudedge.io/record"
LABEL_VALUE: Final = "token"
SELECTOR: Final = f"{LABEL}={LABEL_VALUE}"

KEPT: Final = timedelta(days=7)
"""A record stays for so long after its token has expired, so that ``list`` can tell by whom it was
used."""

_KEY: Final = "record"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NODES: Final = re.compile(r"[-a-z0-9.*?\[\]!]{1,253}")
_SHELL: Final = frozenset("*?[]!")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class State(StrEnum):
    """Whether a token still lets anybody in."""

    GOOD = "good"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Use(msgspec.Struct, frozen=True, rename="camel"):
    """The first enrolment by a token."""

    node: str
    time: Moment
    key_hash: str
    """Of the public key that was enrolled (``pki.key_hash``)."""


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is kept of a token."""

    digest: str
    """SHA-256 of the JWT, hex."""

    expires: Moment
    node: str = ""
    """Name or shell pattern of the nodes that it is good for; "" for any."""

    single_use: bool = False
    used: Use | None = None
    revoked: Moment | None = None

    @property
    def is_bound(self) -> bool:
        """Whether it is good for one node by its exact name, and for that in any case."""
        return is_exact(self.node)

    def state(self, now: datetime) -> State:
        """Return whether it lets anybody in at ``now``."""
        if self.revoked is not None:
            return State.REVOKED
        if now >= self.expires:
            return State.EXPIRED
        return State.USED if self.single_use and self.used is not None else State.GOOD

    def is_stale(self, now: datetime) -> bool:
        """Whether nobody needs the record any more."""
        return now >= self.expires + KEPT


class Kept(Struct, frozen=True):
    """A record as the API server has it."""

    name: str
    record: TokenRecord
    version: str


class Asker(Struct, frozen=True):
    """Who wants to enrol."""

    node: NodeID
    key_hash: str


def is_exact(node: str) -> bool:
    """Whether ``node`` is a name, neither a pattern nor empty."""
    return bool(node) and not _SHELL.intersection(node)


def fault_of_name(name: str) -> str:
    """Return why a token cannot be called ``name``; "" if it can."""
    if _NAME.fullmatch(name):
        return ""
    return "small letters, digits and '-', 63 characters at most"


def fault_of_nodes(node: str) -> str:
    """Return why ``node`` is neither a node's name nor a pattern for some; "" if it is."""
    if _NODES.fullmatch(node):
        return ""
    return "a node's name, or a pattern of a shell for such, as 'store-*'"


def digest_of(presented: str) -> str:
    """Return the hash of a JWT as it is kept."""
    return hashlib.sha256(presented.encode()).hexdigest()


def judge(kept: Kept, presented: str, asker: Asker, now: datetime) -> None:
    """Return if the token ``presented``, whose record is ``kept``, is good for ``asker``.

    What was used up is good for the same node with the same key, which asks again because the
    answer got lost.

    Raises:
        TokenError: it is not; the text tells the fix.
    """
    record = kept.record
    if not hmac.compare_digest(record.digest.encode(), digest_of(presented).encode()):
        raise TokenError(f"the token {kept.name} was replaced by another of that name: {REMEDY}")
    if record.revoked is not None:
        raise TokenError(f"the token {kept.name} was revoked: {REMEDY}")
    if now >= record.expires:
        raise TokenError(f"the token is expired: {REMEDY}")
    if record.node and not fnmatch.fnmatchcase(asker.node, record.node):
        raise TokenError(f"the token is bound to {record.node}, not {asker.node}")
    if record.single_use and record.used is not None and not _is_by(record.used, asker):
        raise TokenError(
            f"the token {kept.name} was good for one enrolment and has been used"
            f" (`cloudcore token list` tells by whom): {REMEDY}"
        )


def to_secret(namespace: str, name: str, record: TokenRecord, version: str = "") -> bytes:
    """Return ``record`` as the API server keeps it; ``version`` is the one that it replaces."""
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret_name(name),
                "namespace": namespace,
                "labels": {LABEL: LABEL_VALUE},
                "resourceVersion": version,
            },
            "type": SECRET_TYPE,
            "data": {_KEY: base64.b64encode(msgspec.json.encode(record)).decode()},
        }
    )


def from_secret(secret: Mapping[str, Any]) -> Kept:
    """Return the record in ``secret``.

    Raises:
        ValueError: it holds none that this version can read.
    """
    metadata = secret["metadata"]
    data = (secret.get("data") or {}).get(_KEY, "")
    try:
        record = msgspec.json.decode(base64.b64decode(data), type=TokenRecord)
    except (ValueError, msgspec.DecodeError) as error:
        raise ValueError(f"Secret {metadata['name']} is damaged, delete it: {error}") from error
    return Kept(metadata["name"].removeprefix(SECRET_PREFIX), record, metadata["resourceVersion"])


def secret_name(name: str) -> str:
    """Return the name of the Secret that has the record of the token ``name``."""
    return f"{SECRET_PREFIX}{name}"


def to_whole_seconds(moment: datetime) -> datetime:
    """Return ``moment`` as people and tokens write it: UTC, no parts of a second."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _is_by(used: Use, asker: Asker) -> bool:
    return (used.node, used.key_hash) == (asker.node, asker.key_hash)
