"""``edgecore doctor``: what is wrong with this edge, and how to fix it; changes nothing."""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from msgspec.structs import replace

from common.checks import Finding, Verdict, as_json, as_text, exit_code
from common.config import Sources, load
from common.errors import ConfigError
from common.output import has_colours
from common.underway import Underway
from edgecore.commands.optioned import own_option, with_options
from edgecore.commands.place import Place, find_place
from edgecore.config import EdgeCoreSettings
from edgecore.doctor import kept, lookcloud, lookkept, lookmachine, machine, reach


def doctor_command() -> Callable[..., None]:
    """Return the command ``doctor``."""
    as_json = typer.Option("--json", help="Print what is found as JSON.")
    return with_options(doctor, [own_option("json", Annotated[bool, as_json], default=False)])


def doctor(sources: Sources, *, json: bool) -> None:
    """Say what is wrong with this edge and how to fix it; takes the options of run.

    Looks at configuration, disk, edge-store, certificate, token, the way to the cloud, clock,
    container engine and machine, whether edgecore runs or not. Ends with 3 where something fails.
    """
    with Underway("looking at this edge"):
        findings = examine(sources)
    colours = has_colours(os.environ, is_terminal=sys.stdout.isatty())
    typer.echo(as_json(findings) if json else as_text(findings, has_colours=colours))
    raise typer.Exit(exit_code(findings))


def examine(sources: Sources) -> list[Finding]:
    """Return all that is found about the edge that ``sources`` configure."""
    try:
        settings = load(EdgeCoreSettings, sources).settings
    except ConfigError as error:
        return [*_faults(error), *_without_settings(sources)]
    where = f"{sources.file} is valid" if sources.file else "the options are valid"
    notes = [Finding("configuration", Verdict.WARN, note, "") for note in settings.notes]
    return [
        Finding("configuration", Verdict.OK, where),
        *notes,
        *examine_edge(Place(settings.data_dir, settings.node_name, sources.file), settings),
    ]


def examine_edge(place: Place, settings: EdgeCoreSettings | None) -> list[Finding]:
    """Return what is found about the edge at ``place``; of the cloud only with ``settings``."""
    found = lookkept.look(place.data_dir, place.node_name, settings)
    findings = list(kept.judge(found))
    if settings is not None:
        authorities = lookkept.authorities_of(place.data_dir)
        findings += reach.judge(lookcloud.look(settings, authorities, found.store.time))
    return findings + list(machine.judge(lookmachine.look(place.data_dir, settings)))


def _without_settings(sources: Sources) -> list[Finding]:
    """Return what can be said of an edge whose configuration is faulty."""
    given = sources.flags.get("data_dir")
    try:
        place = find_place(sources.file, None, sources.environ)
    except ConfigError:  # which is told already
        place = find_place(None, None, {})
    if given:
        place = replace(place, data_dir=type(place.data_dir)(str(given)))
    return examine_edge(place, None)


def _faults(error: ConfigError) -> list[Finding]:
    fix = "mend it: edgecore does not start like this"
    return [Finding("configuration", Verdict.FAIL, fault, fix) for fault in error.faults]
