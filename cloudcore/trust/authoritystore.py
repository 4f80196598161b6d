"""The hub's authority, and the one that follows it, in a Secret that all cloudcores share.

``casecret`` in the namespace ``kubeedge`` holds DER under KubeEdge's keys, and under ours while one
authority follows another:

==================================  ================================================================
``cadata``, ``cakeydata``           the authority that signs
``previousdata``, ``previouskeydata``  the one before it, whose signatures are still good
``crossdata``                       name and key of the first, signed by the second
==================================  ================================================================

An authority is created where there is none, and never overwritten but by ``rotate``, which keeps
the one before until ``finish``.

Source: KubeEdge cloud/pkg/cloudhub/servers/httpserver/pre_server.go.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.kube.client import KubeClient
from cloudcore.trust import keptsecrets
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.keptsecrets import NAMESPACE
from common import issuing, pki
from common.errors import CertificateError, EdgeError

CA_SECRET: Final = "casecret"  # noqa: S105 - the name of a Secret

_MEANWHILE: Final = (
    "somebody else has changed the authority at this moment: see `cloudcore ca status`"
)

GONE: Final = (
    f"Secret {NAMESPACE}/{CA_SECRET} is gone: restore it; what was in it is used until the next"
    " start of cloudcore, which makes a new authority that every edge has to join anew"
)


class RotationError(EdgeError):
    """The authority cannot be changed now; the text tells why, and what to do."""


async def load_authorities(client: KubeClient, now: datetime) -> Authorities:
    """Return the authorities of this cluster; one is made now if there is none.

    Raises:
        RemoteError: the API server refuses, or is away.
        CertificateError: the Secret is there and cannot be used; it is never replaced.
    """
    kept = await keptsecrets.read(client, CA_SECRET)
    if kept is None:
        made = issuing.new_authority(now)
        data = {"cadata": made.der, "cakeydata": pki.key_to_der(made.key)}
        await keptsecrets.write(client, CA_SECRET, data, None)
        kept = await keptsecrets.read(client, CA_SECRET)  # whoever has made it
    return _authorities({} if kept is None else kept.data)


async def find_authorities(client: KubeClient) -> Authorities | None:
    """Return the authorities of this cluster; None where there are none, and none is made.

    Raises:
        RemoteError, CertificateError: as ``load_authorities``.
    """
    kept = await keptsecrets.read(client, CA_SECRET)
    return None if kept is None else _authorities(kept.data)


async def rotate(client: KubeClient, now: datetime) -> Authorities:
    """Have a new authority sign from now on, and keep the one before; return both.

    Of two that do this at one moment one succeeds.

    Raises:
        RotationError: there is no authority yet, one is being replaced already, or somebody else
            was quicker.
        RemoteError, CertificateError: as ``load_authorities``; nothing has changed.
    """
    kept = await keptsecrets.read(client, CA_SECRET)
    if kept is None:
        raise RotationError("there is no authority yet: `cloudcore run` makes one")
    found = _authorities(kept.data)
    if found.previous is not None:
        raise RotationError(
            "an authority is being replaced already: see `cloudcore ca status`, and end that with"
            " `cloudcore ca finish` first"
        )
    old, new = found.current, issuing.next_authority(now)
    cross = issuing.cross_sign(old, new, now).public_bytes(Encoding.DER)
    data = {
        **kept.data,
        "cadata": new.der,
        "cakeydata": pki.key_to_der(new.key),
        "previousdata": old.der,
        "previouskeydata": pki.key_to_der(old.key),
        "crossdata": cross,
    }
    if not await keptsecrets.write(client, CA_SECRET, data, kept):
        raise RotationError(_MEANWHILE)
    return Authorities(new, old, cross)


async def finish(client: KubeClient, expected: str) -> None:
    """Forget the authority that was replaced, and all that it has signed.

    Args:
        client: of the API server.
        expected: fingerprint of the authority that is to be the only one, as the caller knows it.

    Raises:
        RotationError: none is being replaced, or it is not ``expected`` that is newest.
        RemoteError, CertificateError: as ``load_authorities``; nothing has changed.
    """
    kept = await keptsecrets.read(client, CA_SECRET)
    found = None if kept is None else _authorities(kept.data)
    if found is None or found.previous is None:
        raise RotationError("no authority is being replaced: `cloudcore ca rotate` begins that")
    assert kept is not None
    data = {key: kept.data[key] for key in ("cadata", "cakeydata")}
    is_expected = found.fingerprint == expected
    if not is_expected or not await keptsecrets.write(client, CA_SECRET, data, kept):
        raise RotationError(_MEANWHILE)


def _authorities(data: Mapping[str, bytes]) -> Authorities:
    try:
        current = _authority(data, "cadata", "cakeydata")
        if "previousdata" not in data:
            return Authorities(current)
        previous = _authority(data, "previousdata", "previouskeydata")
        return Authorities(current, previous, _cross(data, current, previous))
    except CertificateError as error:
        raise CertificateError(
            f"Secret {NAMESPACE}/{CA_SECRET} cannot be used ({error}): restore it, or delete it to"
            " begin with a new authority, which every edge has to join anew"
        ) from error


def _authority(data: Mapping[str, bytes], certificate: str, key: str) -> issuing.Authority:
    return issuing.load_authority(data.get(certificate, b""), data.get(key, b""))


def _cross(
    data: Mapping[str, bytes], current: issuing.Authority, previous: issuing.Authority
) -> bytes:
    der = data.get("crossdata", b"")
    cross = pki.load_certificate(der)
    is_by_previous = pki.has_signed(previous.certificate, cross)
    if cross.public_key() != current.key.public_key() or not is_by_previous:
        raise CertificateError("crossdata is not the new authority's key, signed by the old one")
    return der
