"""Join tokens: who has one may ask for a node's certificate. Pure.

``<SHA-256 of the authority's certificate, hex>.<JWT>``; the JWT is signed with HS256, its key is
the authority's private key as DER. There are two kinds:

- A *named* token has the claims ``jti``, which no other has, and ``sub``, the name of its record
  (``tokenrecord``). What it is good for stands there. The claim ``node`` of one that is bound to a
  node is for cloudcores of an earlier version, which know no records and run beside for a while.
- A *plain* token has no record. KubeEdge's have the claim ``exp`` alone. One with the claim
  ``node``, as that earlier version made them, is good for that node only, and for it in any case.

Source: KubeEdge pkg/security/token/token.go.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from msgspec import Struct

from common import issuing, pki
from common.errors import EdgeError
from common.names import NodeID

LIFETIME: Final = timedelta(hours=24)
MAX_LIFETIME: Final = timedelta(days=366)
MAX_TOKEN_CHARS: Final = 4096
_ALGORITHM: Final = "HS256"
_NODE_CLAIM: Final = "node"
_ID_CLAIM: Final = "jti"
_NAME_CLAIM: Final = "sub"

REMEDY: Final = "make another with `cloudcore token create`"


class TokenError(EdgeError):
    """The token cannot be accepted; the text tells the fix."""


class Grant(Struct, frozen=True):
    """What a sound token says of itself."""

    node: NodeID | None
    """The only node that a plain token is good for; None for any whose name is free."""

    name: str | None = None
    """Of the token's record, which tells the rest; None for a plain token."""


def new_token(
    authority: issuing.Authority, now: datetime, lifetime: timedelta = LIFETIME, node: str = ""
) -> str:
    """Return a plain token that is good for ``lifetime``, bound to ``node`` if one is given."""
    claims: dict[str, object] = {"exp": now + lifetime}
    if node:
        claims[_NODE_CLAIM] = node
    return _signed(authority, claims)


def new_named_token(
    authority: issuing.Authority, expires: datetime, name: str, token_id: str, node: str = ""
) -> str:
    """Return the token of the record ``name``.

    Args:
        authority: it signs.
        expires: when the token ends.
        name: of the record.
        token_id: random, at least 128 bit: two tokens of one name are never the same.
        node: the only one that the record is for; "" where it is for more.
    """
    claims: dict[str, object] = {"exp": expires, _ID_CLAIM: token_id, _NAME_CLAIM: name}
    if node:
        claims[_NODE_CLAIM] = node
    return _signed(authority, claims)


def check_token(authority: issuing.Authority, presented: str, now: datetime) -> Grant:
    """Return what the JWT of a token, ``presented`` without the hash, says.

    Raises:
        TokenError: it is none of ours, or has expired.
    """
    return check_token_of_any((authority,), presented, now)


def check_token_of_any(
    authorities: Iterable[issuing.Authority], presented: str, now: datetime
) -> Grant:
    """Return what ``presented`` says, whichever of ``authorities`` has signed it.

    Raises:
        TokenError: it is none of ours, or has expired.
    """
    if len(presented) > MAX_TOKEN_CHARS:
        raise TokenError("the token is too long to be one")
    if not presented.isascii():  # among it what HTTP makes of bytes that are no UTF-8
        raise TokenError("a token has letters, digits, '.', '-' and '_' only")
    claims = next(filter(None, (_claims(one, presented) for one in authorities)), None)
    if claims is None:
        raise TokenError(f"the token is not one of this cluster: {REMEDY}")
    grant = _grant(claims)
    if now.timestamp() >= claims["exp"]:
        raise TokenError(f"the token is expired: {REMEDY}")
    return grant


def _signed(authority: issuing.Authority, claims: dict[str, object]) -> str:
    encoded = jwt.encode(claims, pki.key_to_der(authority.key), algorithm=_ALGORITHM)
    return f"{pki.fingerprint(authority.der)}.{encoded}"


def _claims(authority: issuing.Authority, presented: str) -> dict[str, Any] | None:
    """Return the claims of a token of ``authority``; None where it is none.

    The library compares signatures in constant time.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            presented,
            pki.key_to_der(authority.key),
            algorithms=[_ALGORITHM],
            # The time is an argument here, not the library's own clock.
            options={"require": ["exp"], "verify_exp": False},
        )
    except jwt.InvalidTokenError:
        return None
    return claims


def _grant(claims: dict[str, Any]) -> Grant:
    node, token_id, name = (claims.get(one) for one in (_NODE_CLAIM, _ID_CLAIM, _NAME_CLAIM))
    if not isinstance(claims["exp"], int | float) or not isinstance(node, str | None):
        raise TokenError("the token's claims are of another kind than this version makes")
    if token_id is None:
        return Grant(NodeID(node) if node else None)
    if not isinstance(name, str) or not name:
        raise TokenError("the token's claims are of another kind than this version makes")
    return Grant(None, name)
