"""Whether a node gets a new certificate for one that it has. Pure.

The old one is shown in TLS, as KubeEdge's edges do, or by a proof (``common.proof``), which may be
made with one that has expired:

========  ===========  =======  ============  =======  =============================================
whose     by whom      revoked  expired for   known    answer
========  ===========  =======  ============  =======  =============================================
another   any          any      any           any      401 ``wrong_certificate``
own       a stranger   any      any           any      401 ``wrong_certificate``
own       an           yes      any           any      403 ``revoked``
          authority
own       an           no       nothing       any      a new certificate
          authority
own       an           no       more than     any      403 ``expired``
          authority             the grace
own       an           no       up to the     no       403 ``unknown_node``
          authority             grace
own       an           no       up to the     yes      a new certificate
          authority             grace
========  ===========  =======  ============  =======  =============================================

A node is known that has a Node, or a certificate in the ledger. While its certificate is good it
need not be: it could register by it, whether it is renewed or not.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from cloudcore.cloudhub.handshake import Refusal, revoked_text
from cloudcore.trust.authorities import Authorities
from common import proof, subjects
from common.names import REVOKED, NodeID

_NOTHING: Final = timedelta(0)


class OldCertificate(Struct, frozen=True):
    """What was shown, by whoever has its key: TLS or the proof have seen to that."""

    node: NodeID | None
    """In its subject; None where that is not a node's."""

    serial: int
    is_ours: bool
    """An authority that is trusted has signed it."""

    expired_for: timedelta
    """Nothing, or less, while it is good."""

    is_proof: bool
    """It was shown by a proof, not in TLS."""

    is_nameless: bool = False
    """It names no node, and is believed to be this one's: see ``nameless``."""


class Standing(Struct, frozen=True):
    """What is known of the node that asks."""

    is_revoked: bool
    """The certificate that it shows counts no more."""

    is_known: bool
    """It has a Node, or a certificate in the ledger."""


def shown_in_tls(peercert: Mapping[str, Any], *, is_ours: bool) -> OldCertificate:
    """Return what a client has shown in TLS, which has checked dates and key.

    Args:
        peercert: what ``ssl.SSLSocket.getpeercert`` returns.
        is_ours: an authority that is trusted now has signed it; TLS knows what was trusted when the
            connection began, and accepts what somebody in between has signed.
    """
    node = subjects.node_of_certificate(peercert)
    serial = int(str(peercert.get("serialNumber", "0")), 16)
    return OldCertificate(node, serial, is_ours=is_ours, expired_for=_NOTHING, is_proof=False)


def shown_by_proof(
    presented: proof.Presented, csr: bytes, authorities: Authorities, now: datetime
) -> OldCertificate:
    """Return what a client has shown by a proof.

    Raises:
        CertificateError: the proof is not that of the certificate's key for ``csr``.
    """
    certificate = presented.certificate
    proof.check_renewal(certificate, csr, presented.proof)
    return OldCertificate(
        subjects.node_of_certificate(certificate.public_bytes(Encoding.DER)),
        certificate.serial_number,
        is_ours=authorities.signer_of(certificate) is not None,
        expired_for=now - certificate.not_valid_after_utc,
        is_proof=True,
    )


def judge_shown(node: NodeID, old: OldCertificate) -> Refusal | None:
    """Return why ``old`` says nothing for ``node``, whatever is known of that; None if it does."""
    if old.node == node and old.is_ours:
        return None
    whose = f"{node}'s" if old.node != node else "by an authority of this cluster"
    return Refusal(
        HTTPStatus.UNAUTHORIZED,
        "wrong_certificate",
        f"the certificate is not {whose}: {_remedy(node)}",
    )


def judge(
    node: NodeID, old: OldCertificate, standing: Standing, grace: timedelta
) -> Refusal | None:
    """Return why ``node`` gets no new certificate for ``old``; None if it gets one.

    Args:
        node: who is to have the new one.
        old: the one that is shown.
        standing: what is known of the node.
        grace: for how long an expired one is good for this.
    """
    refusal = judge_shown(node, old)
    if refusal is not None:
        return refusal
    if standing.is_revoked:
        return Refusal(HTTPStatus.FORBIDDEN, REVOKED, revoked_text(node))
    if old.expired_for <= _NOTHING:
        return None
    if old.expired_for > grace:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "expired",
            f"the certificate has expired {_days(old.expired_for)} days ago, and is renewed for"
            f" {_days(grace)} days after it has (--renewal-grace-days): {_remedy(node)}",
        )
    if not standing.is_known:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "unknown_node",
            f"the certificate has expired, and nothing is known of a node {node}: {_remedy(node)}",
        )
    return None


def _remedy(node: NodeID) -> str:
    return f"use a new token: `cloudcore token create --node-name {node}`"


def _days(duration: timedelta) -> str:
    return f"{duration / timedelta(days=1):.4g}"
