"""Which edge a command is about, said as for ``edgecore run``, but without the need to be right.

Somebody who looks because something is wrong is not to be refused for what is wrong.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct

from edgecore.edgestore.keyfile import FILE_NAME as KEY_FILE_NAME
from edgecore.edgestore.keyfile import KeyFile, credential

CONFIG_FILE: Final = Path("/etc/cloudedge/edgecore.yaml")
"""Where ``edgecore join`` writes the configuration: read, if it is there, where none is named."""

DATA_DIR: Final = Path("/var/lib/cloudedge/edgecore")
"""The data folder where nothing else is said."""

CREDENTIALS: Final = Path("/run/credentials/edgecore.service")
"""Where systemd puts the credentials of the service while it runs; root may read them there."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help=f"The file that edgecore runs with, which says where its data folder is;"
        f" {CONFIG_FILE} where that is there.",
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help=f"Folder of everything that the edge keeps, as of edgecore run (default: {DATA_DIR}).",
    ),
]


class Place(Struct, frozen=True):
    """Where an edge keeps what it has."""

    data_dir: Path
    node_name: str
    """As far as it is known before edgecore is asked."""
    config: Path | None
    """The file that was read."""


def find_place(
    config: Path | None, data_dir: Path | None, environ: Mapping[str, str] = os.environ
) -> Place:
    """Return the place: what was given wins over the environment, which wins over the file.

    Raises:
        ConfigError: the file cannot be read, or is no mapping.
    """
    file = config or default_config()
    told = _told(file) if file else {}
    folder = data_dir or environ.get("EDGECORE_DATA_DIR") or told.get("data_dir") or DATA_DIR
    name = environ.get("EDGECORE_NODE_NAME") or told.get("node_name") or socket.gethostname()
    return Place(Path(str(folder)), str(name).lower(), file)


def key_of(
    data_dir: Path, environ: Mapping[str, str] = os.environ, folder: Path = CREDENTIALS
) -> KeyFile:
    """Return the key of the edge-store in ``data_dir``, also where only the service is given it."""
    given = credential(environ) or credential({"CREDENTIALS_DIRECTORY": str(folder)})
    return KeyFile(data_dir / KEY_FILE_NAME, given)


def default_config(file: Path = CONFIG_FILE) -> Path | None:
    """Return the file that is read where none is named; None where it is not there."""
    return file if file.is_file() else None


def _told(file: Path) -> Mapping[str, object]:
    # Not at the top: these are commands of a program that mostly runs the daemon.
    from common.config import read_document  # noqa: PLC0415
    from edgecore.config import EdgeCoreSettings  # noqa: PLC0415

    document = read_document(file)
    if "apiVersion" in document:
        return EdgeCoreSettings.translate(document).options
    return document
