"""Whose a certificate is: the names in those of nodes, and in the requests for them."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from common.errors import CertificateError
from common.names import NODE_USER_PREFIX, NODES_GROUP, NodeID, node_user
from common.pki import UNSOUND, Key, load_certificate


class Request(Struct, frozen=True):
    """What a request for a certificate says, which its own key has signed."""

    key: ec.EllipticCurvePublicKey
    node: NodeID | None
    """Whose name it states, if that of a node."""

    is_nameless: bool
    """See ``is_nameless``."""


def new_csr(key: Key, node: NodeID) -> bytes:
    """Return the DER of a request for the client certificate of ``node``."""
    request = x509.CertificateSigningRequestBuilder(node_name(node))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def read_request(csr_der: bytes) -> Request:
    """Return what ``csr_der`` asks for.

    Raises:
        CertificateError: it is no request, or its signature or key is not sound.
    """
    try:
        request = x509.load_der_x509_csr(csr_der)
        with _names_of_any_length():
            node = _node_of_name(request.subject)
            is_nameless = _is_nameless(*_parts_of(request.subject))
        key, is_signed = request.public_key(), request.is_signature_valid
    except UNSOUND as error:
        raise CertificateError(f"not a PKCS#10 request in DER: {error}") from error
    if not is_signed or not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateError("the request is not signed by its own EC key")
    return Request(key, node, is_nameless)


def node_of_certificate(peercert: Mapping[str, Any] | bytes) -> NodeID | None:
    """Return the node that a client certificate belongs to; None where it is not a node's.

    Args:
        peercert: DER, or the dict of ``ssl.SSLSocket.getpeercert``. That the authority has signed
            it must have been checked already, which TLS does.
    """
    if isinstance(peercert, bytes):
        try:
            with _names_of_any_length():
                return _node_of_name(load_certificate(peercert).subject)
        except (*UNSOUND, CertificateError):
            return None
    attributes = [pair for part in peercert.get("subject", ()) for pair in part]
    return _node_of_attributes(
        [value for kind, value in attributes if kind == "organizationName"],
        [value for kind, value in attributes if kind == "commonName"],
    )


def is_nameless(peercert: Mapping[str, Any]) -> bool:
    """Whether a client certificate is one that KubeEdge before 1.16 gave to every edge alike.

    Args:
        peercert: the dict of ``ssl.SSLSocket.getpeercert``.
    """
    attributes = [pair for part in peercert.get("subject", ()) for pair in part]
    return _is_nameless(
        [value for kind, value in attributes if kind == "organizationName"],
        [value for kind, value in attributes if kind == "commonName"],
    )


def _node_of_name(name: x509.Name) -> NodeID | None:
    return _node_of_attributes(*_parts_of(name))


def _parts_of(name: x509.Name) -> tuple[list[str], list[str]]:
    """Return the values of O and CN."""
    return (
        [str(a.value) for a in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)],
        [str(a.value) for a in name.get_attributes_for_oid(NameOID.COMMON_NAME)],
    )


def _is_nameless(organizations: list[str], common_names: list[str]) -> bool:
    # KubeEdge itself has spelled it in two ways.
    folded = [one.casefold() for one in organizations]
    return (folded, common_names) == (["kubeedge"], ["kubeedge.io"])


def _node_of_attributes(organizations: list[str], common_names: list[str]) -> NodeID | None:
    # Country, locality and province are passed over: KubeEdge's edges state some. A second O or CN
    # is not: the two ends could read another one each.
    if organizations != [NODES_GROUP] or len(common_names) != 1:
        return None
    user = common_names[0]
    node = user.removeprefix(NODE_USER_PREFIX)
    return NodeID(node) if node and node != user else None


def distinguished_name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """Return the name of these parts, each as long as it may be."""
    with _names_of_any_length():
        return x509.Name(
            [x509.NameAttribute(oid, text, _validate=False) for oid, text in attributes]
        )


@contextmanager
def _names_of_any_length() -> Iterator[None]:
    """Say nothing of long names: X.520 ends a CN at 64 characters, a node's name may have 253."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Attribute's length", category=UserWarning)
        yield


def node_name(node: NodeID) -> x509.Name:
    """Return the subject of a node's certificate."""
    return distinguished_name(
        (NameOID.ORGANIZATION_NAME, NODES_GROUP), (NameOID.COMMON_NAME, node_user(node))
    )
