"""``edgecore import``: what KubeEdge's edge knows, taken over on the command line."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgecore.kubeedge.importing import Report


def import_kubeedge(
    source: Annotated[
        Path, typer.Option("--from", help="KubeEdge's database; it is read and never written.")
    ] = Path("/var/lib/kubeedge/edgecore.db"),
    data_dir: Annotated[
        Path, typer.Option(help="Folder of everything that this edge keeps, as of edgecore run.")
    ] = Path("/var/lib/cloudedge/edgecore"),
    certificate: Annotated[Path, typer.Option(help="The node's certificate, PEM.")] = Path(
        "/etc/kubeedge/certs/server.crt"
    ),
    key: Annotated[Path, typer.Option(help="Its key, PEM.")] = Path(
        "/etc/kubeedge/certs/server.key"
    ),
    authority: Annotated[Path, typer.Option(help="The cloud's authority, PEM.")] = Path(
        "/etc/kubeedge/ca/rootCA.crt"
    ),
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

    wish = Wish(source, Files(certificate, key, authority), data_dir, force=force)
    report = asyncio.run(take_over(wish))
    for line in words(report, datetime.now(UTC)):
        typer.echo(line)
    for fault in report.faults:
        typer.echo(f"left out: {fault}", err=True)


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
