"""One request to the cloud's HTTPS endpoint; blocks. Only for the program that enrols."""

import http.client
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct, field

from common.errors import CertificateError, LinkError
from edgecore.edgehub.certificates import fault_of_cloud
from edgecore.edgehub.enrollconfig import EnrollConfig, RefusedError

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A certificate has about one KiB."""

TIMEOUT_S: Final = 30.0
"""For one request, all of it."""

_MAX_WORDS: Final = 256


class Get(Struct, frozen=True):
    """What is asked for: ``GET``, with a body, which is how KubeEdge's cloud wants it."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


def fetch(config: EnrollConfig, tls: ssl.SSLContext, wanted: Get, known: datetime | None) -> bytes:
    """Return the body of the answer; blocks for up to ``TIMEOUT_S``.

    Args:
        config: where the cloud is.
        tls: whom to trust, and what to show.
        wanted: the request. It is sent only if the cloud's certificate is in order.
        known: by which the dates of that certificate are judged; None for not at all.

    Raises:
        RefusedError: the cloud answers with something else than 200.
        LinkError: it cannot be reached or is not trusted; the text says why.
    """
    where = f"enrolment at {config.cloud}:{config.https_port}"
    try:
        return _exchange(config, tls, wanted, known)
    except RefusedError as error:
        raise RefusedError(f"{where}: {error}", error.status) from error
    except ssl.SSLCertVerificationError as error:
        raise LinkError(
            f"{where}: the cloud's certificate is not accepted: {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException, CertificateError) as error:
        raise LinkError(f"{where}: {str(error) or type(error).__name__}") from error


def _exchange(
    config: EnrollConfig, tls: ssl.SSLContext, wanted: Get, known: datetime | None
) -> bytes:
    deadline_s = time.monotonic() + TIMEOUT_S
    connection = http.client.HTTPSConnection(
        config.cloud, config.https_port, timeout=TIMEOUT_S, context=tls
    )
    try:
        connection.connect()
        _judge(connection.sock, known)
        connection.request("GET", wanted.path, body=wanted.body, headers=dict(wanted.headers))
        with connection.getresponse() as response:
            content = b""
            while chunk := response.read1(8192):
                content += chunk
                if len(content) > MAX_ANSWER_BYTES or time.monotonic() > deadline_s:
                    raise OSError(f"the answer to {wanted.path} is too long or too slow")
        if response.status != http.client.OK:
            words = content.decode(errors="replace").strip()[:_MAX_WORDS]
            text = f"{wanted.path}: {response.status} {words or response.reason}"
            raise RefusedError(text, response.status)
        return content
    finally:
        connection.close()


def _judge(plain: object, known: datetime | None) -> None:
    assert isinstance(plain, ssl.SSLSocket)
    der = plain.getpeercert(binary_form=True)
    if der is None:
        raise CertificateError("the cloud has shown no certificate")
    fault = fault_of_cloud(der, known, datetime.now(UTC))
    if fault:
        raise CertificateError(fault)
