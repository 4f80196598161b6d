"""``edgecore status``: how this edge does; asks edgecore if it runs, and the disk in any case."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from common.errors import CertificateError, ConfigError, StoreError
from common.monitor import ask
from common.output import Output, OutputFormat, render
from edgecore.commands.place import ConfigOption, DataDirOption, Place, find_place, key_of
from edgecore.commands.statusview import (
    CertificateFacts,
    Facts,
    StoreFacts,
    as_table,
    exit_code,
    shape,
)
from edgecore.commands.storeview import pods_by_phase
from edgecore.datadir import SOCKET
from edgecore.edgehub.certificates import ders_of, validity
from edgecore.edgehub.timekeeper import TIME_STATE
from edgecore.edgestore.reading import StoreReader, read_store
from edgecore.edgestore.records import COMPLETE_STATE
from edgecore.edgestore.store import FILE_NAME
from edgecore.install.slots import HOME, SlotError, State, read_state


def status(
    *,
    output: Output = OutputFormat.TABLE,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Say whether this edge runs and is connected, what it holds, and until when it may.

    Ends with 3 where edgecore does not run or is not connected.
    """
    facts = gather(find_place(config, data_dir), datetime.now(UTC))
    shown = shape(facts)
    typer.echo(render(output, shown, lambda: as_table(shown, facts.now)))
    raise typer.Exit(exit_code(shown))


def gather(place: Place, now: datetime) -> Facts:
    """Return what there is to know of the edge at ``place``.

    Raises:
        ConfigError: its folder is another user's.
    """
    told, silence = _ask(place.data_dir)
    if told and "edgecore" in told:
        node = str(told["edgecore"]["node"])
    else:
        node = node_of(place.data_dir, place.node_name)
    return Facts(
        node,
        now,
        _store(place.data_dir),
        certificate_of(place.data_dir, node),
        told,
        silence,
        _slot(),
    )


def node_of(data_dir: Path, otherwise: str) -> str:
    """Return the node whose certificate is in the folder, if there is one of one node only."""
    files = list((data_dir / "pki").glob("*.pem"))
    return files[0].stem if len(files) == 1 else otherwise


def certificate_of(data_dir: Path, node: str) -> CertificateFacts:
    """Return what there is of a certificate for ``node``."""
    file = data_dir / "pki" / f"{node}.pem"
    try:
        return CertificateFacts(validity(ders_of(file.read_text("ascii"))[0]).not_after)
    except FileNotFoundError:
        return CertificateFacts(
            error=f"none for {node}; an edge gets one for its token, a site needs none"
        )
    except OSError as error:
        return CertificateFacts(error=f"{file}: {error.strerror}")
    except (ValueError, IndexError, CertificateError) as error:
        return CertificateFacts(error=f"{file}: not a certificate: {error}")


def _slot() -> State:
    try:
        return read_state(HOME)
    except SlotError as error:
        return State(current="not known", failed="state.json", why=str(error))


def _ask(data_dir: Path) -> tuple[Mapping[str, Mapping[str, Any]] | None, str]:
    """Return what edgecore says, or None and why it says nothing."""
    try:
        return json.loads(ask(data_dir / SOCKET)), ""
    except (FileNotFoundError, ConnectionRefusedError):
        return None, "nobody is there"
    except PermissionError as error:
        fault = (
            f"--data-dir: {data_dir}: {error.strerror}: ask as the user of edgecore, mostly root"
        )
        raise ConfigError([fault]) from error
    except TimeoutError:
        return None, "it does not answer: it hangs, or the machine is very busy"
    except (OSError, ValueError) as error:
        return None, f"its answer cannot be used: {error}"


def _store(data_dir: Path) -> StoreFacts:
    keys = key_of(data_dir)

    def read(reader: StoreReader) -> StoreFacts:
        pods = [
            found
            for held in reader.listing("pod")
            if (found := reader.get("pod", held.namespace, held.name, keys)) is not None
        ]
        return StoreFacts(
            len(reader.listing()),
            pods_by_phase(pods),
            reader.state(COMPLETE_STATE) == "yes",
            reader.state(TIME_STATE),
        )

    try:
        return read_store(data_dir / FILE_NAME, read)
    except StoreError as error:
        return StoreFacts(error=str(error))
