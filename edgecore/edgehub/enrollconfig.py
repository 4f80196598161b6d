"""What enrolment is told, in a form that can be handed to another process. Pure."""

from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Literal

import msgspec


class Exit(IntEnum):
    """How the program ends; its output has the words."""

    DONE = 0
    LINK = 3
    CERTIFICATE = 4


class EnrollConfig(msgspec.Struct, frozen=True):
    """Who enrols where."""

    node_name: str
    cloud: str
    https_port: int
    folder: str
    """Where the key and the certificates are kept, readable by this user only."""

    @property
    def authority_file(self) -> Path:
        """The certificate of the cloud's authority, PEM."""
        return Path(self.folder) / "ca.crt"

    @property
    def node_file(self) -> Path:
        """The node's certificate and key, PEM.

        In one file, so that there is never one without the other; named by the node, so that an
        edge with another name does not show it.
        """
        return Path(self.folder) / f"{self.node_name}.pem"


class Task(msgspec.Struct, frozen=True):
    """What the program is to do."""

    job: Literal["enroll", "examine"]
    config: EnrollConfig
    token: str
    now: datetime
