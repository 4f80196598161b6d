"""What enrolment is told, in a form that can be handed to another process. Pure."""

from datetime import datetime
from enum import IntEnum, StrEnum
from pathlib import Path

import msgspec

from common.errors import LinkError


class RefusedError(LinkError):
    """The cloud was reached, and does not give what was asked for; the text has its words."""

    def __init__(self, text: str, status: int = 0) -> None:
        """Say why; ``status`` is HTTP's, where it is known."""
        super().__init__(text)
        self.status = status


class Exit(IntEnum):
    """How the program ends; its output has the words."""

    DONE = 0
    LINK = 3
    CERTIFICATE = 4
    REFUSED = 5


class Job(StrEnum):
    """What can be done about an identity."""

    ENROLL = "enroll"
    """Get a certificate for a token."""

    EXAMINE = "examine"
    """Say what is wrong with the one there is."""

    RENEW = "renew"
    """Get the authorities that the cloud trusts, and a new certificate for the old one."""

    FOLLOW = "follow"
    """Get the authorities, and a certificate by the newest where the old one is by another."""


class EnrollConfig(msgspec.Struct, frozen=True):
    """Who enrols where."""

    node_name: str
    cloud: str
    https_port: int
    folder: str
    """Where the key and the certificates are kept, readable by this user only."""

    @property
    def authority_file(self) -> Path:
        """The certificates of the cloud's authorities, PEM, the newest first."""
        return Path(self.folder) / "ca.crt"

    @property
    def node_file(self) -> Path:
        """The node's certificate and key, PEM.

        In one file, so that there is never one without the other; named by the node, so that an
        edge with another name does not show it.
        """
        return Path(self.folder) / f"{self.node_name}.pem"

    @property
    def joining_file(self) -> Path:
        """The key of a node that has no certificate yet, PEM; gone once it has one."""
        return Path(self.folder) / f"{self.node_name}.joining.key"


class Task(msgspec.Struct, frozen=True):
    """What the program is to do."""

    job: Job
    config: EnrollConfig
    token: str = ""
    known: datetime | None = None
    """A moment that has passed for certain: by it, dates are judged. None where none is known."""
    authority: str = ""
    """Fingerprint of the authority that the cloud says it signs by; "" where it does not say."""
