"""Join tokens: who has one may ask for a node's certificate. Pure.

``<SHA-256 of the authority's certificate, hex>.<JWT>``; the JWT is signed with HS256, its key is
the authority's private key as DER. A token with the claim ``node`` is good for that node only, and
for it in any case. KubeEdge's tokens have the claim ``exp`` alone.

Source: KubeEdge pkg/security/token/token.go.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import jwt

from common import pki
from common.errors import EdgeError
from common.names import NodeID

LIFETIME: Final = timedelta(hours=24)
MAX_LIFETIME: Final = timedelta(days=366)
MAX_TOKEN_CHARS: Final = 4096
_ALGORITHM: Final = "HS256"
_NODE_CLAIM: Final = "node"


class TokenError(EdgeError):
    """The token cannot be accepted; the text tells the fix."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a sound token allows."""

    node: NodeID | None
    """The only node that it is good for; None for any whose name is free."""


def new_token(
    authority: pki.Authority, now: datetime, lifetime: timedelta = LIFETIME, node: str = ""
) -> str:
    """Return a token that is good for ``lifetime``, bound to ``node`` if one is given."""
    claims: dict[str, object] = {"exp": now + lifetime}
    if node:
        claims[_NODE_CLAIM] = node
    encoded = jwt.encode(claims, pki.key_to_der(authority.key), algorithm=_ALGORITHM)
    return f"{pki.fingerprint(authority.der)}.{encoded}"


def check_token(authority: pki.Authority, presented: str, now: datetime) -> Grant:
    """Return what the JWT of a token, ``presented`` without the hash, allows.

    Raises:
        TokenError: it is none of ours, or has expired.
    """
    if len(presented) > MAX_TOKEN_CHARS:
        raise TokenError("the token is too long to be one")
    if not presented.isascii():  # among it what HTTP makes of bytes that are no UTF-8
        raise TokenError("a token has letters, digits, '.', '-' and '_' only")
    try:
        claims = jwt.decode(
            presented,
            pki.key_to_der(authority.key),
            algorithms=[_ALGORITHM],
            # The time is an argument here, not the library's own clock.
            options={"require": ["exp"], "verify_exp": False},
        )
    except jwt.InvalidTokenError as error:
        raise TokenError(
            "the token is not one of this cluster: make another with `cloudcore token create`"
        ) from error
    expires, node = claims["exp"], claims.get(_NODE_CLAIM)
    if not isinstance(expires, int | float) or not isinstance(node, str | None):
        raise TokenError("the token's claims are of another kind than this version makes")
    if now.timestamp() >= expires:
        raise TokenError("the token is expired: make another with `cloudcore token create`")
    return Grant(NodeID(node) if node else None)
