"""``edgecore import``: what KubeEdge's edge knows, taken over on the command line."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.config import read_document
from common.errors import ConfigError

if TYPE_CHECKING:
    from edgecore.kubeedge.importing import Report
    from edgecore.kubeedgeconfig import Places


def import_kubeedge(  # noqa: PLR0913 - the options of the command
    config: Annotated[
        Path | None,
        typer.Option(help="KubeEdge's edgecore.yaml, which says where the following four are."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="KubeEdge's database; it is read and never written. Where KubeEdge has it by"
            " default, as the next three, unless given.",
        ),
    ] = None,
    data_dir: Annotated[
        Path, typer.Option(help="Folder of everything that this edge keeps, as of edgecore run.")
    ] = Path("/var/lib/cloudedge/edgecore"),
    certificate: Annotated[Path | None, typer.Option(help="The node's certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None,
    authority: Annotated[Path | None, typer.Option(help="The cloud's authority, PEM.")] = None,
    force: Annotated[  # noqa: FBT002 - a flag
        bool,
        typer.Option(
            "--force",
            help="Also into a folder that holds something: what is older there is replaced.",
        ),
    ] = False,
) -> None:
    """Take over pods, ConfigMaps, Secrets and the certificate of a KubeEdge edge on this machine.

    Stop KubeEdge's edgecore first; its pods go on running.
    """
    # Not at the top: it brings cryptography along, which a running edge does without.
    from edgecore.kubeedge.certificate import Files  # noqa: PLC0415
    from edgecore.kubeedge.importing import Wish, take_over  # noqa: PLC0415

    told = _places(config)
    files = Files(certificate or told.certificate, key or told.key, authority or told.authority)
    wish = Wish(source or told.database, files, data_dir, force=force)
    report = asyncio.run(take_over(wish))
    for line in words(report, datetime.now(UTC)):
        typer.echo(line)
    for fault in report.faults:
        typer.echo(f"left out: {fault}", err=True)


def _places(config: Path | None) -> "Places":
    # Not at the top: this module is a part of the daemon's program, too.
    from edgecore.kubeedgeconfig import Places, places  # noqa: PLC0415

    if config is None:
        return Places()
    try:
        return places(read_document(config))
    except ValueError as error:
        raise ConfigError([f"{config}: {line}" for line in str(error).splitlines()]) from error


def words(report: "Report", now: datetime) -> Iterator[str]:
    """Yield what there is to say of an import, without what was left out as faulty."""
    yield f"taken over: {_counted(report.kept)}"
    if report.stale:
        yield f"known here in newer versions: {', '.join(report.stale)}"
    if report.others:
        yield f"not taken, of other types: {_counted(report.others)}"
    if report.certificate is None:
        yield "no certificate was found: the edge has to be enrolled with a token"
        return
    yield f"the certificate of node {report.certificate.node}: run with this --node-name"
    until = report.certificate.not_after
    if until < now:
        yield f"it has expired on {until:%Y-%m-%d}: it is renewed, or needs a new token"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items()))
