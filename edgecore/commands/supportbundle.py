"""``edgecore support-bundle``: what whoever helps needs to know, in a file, without secrets."""

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from common.checks import as_json
from common.config import Sources, load
from common.errors import StoreError
from common.monitor import ask
from common.supportbundle import SupportBundle
from common.underway import Underway
from edgecore.commands.doctor import examine
from edgecore.commands.optioned import own_option, with_options
from edgecore.commands.place import Place, find_place
from edgecore.commands.status import gather
from edgecore.commands.statusview import shape
from edgecore.commands.storeview import item
from edgecore.config import EdgeCoreSettings
from edgecore.datadir import SOCKET
from edgecore.edgestore.reading import read_store
from edgecore.edgestore.store import FILE_NAME

_UNIT: Final = "edgecore"
_LINES: Final = 5000
_JOURNAL_S: Final = 30.0


def support_bundle_command() -> Callable[..., None]:
    """Return the command ``support-bundle``."""
    where = typer.Argument(help="File to write, for example edge.tar.gz; must not be there yet.")
    return with_options(support_bundle, [own_option("file", Annotated[Path, where])])


def support_bundle(sources: Sources, *, file: Path) -> None:
    """Put what is known of this edge into a file for whoever helps, without secrets.

    Version, configuration, status, what the doctor finds, the list of what is held (no contents),
    metrics and the journal. Works whether edgecore runs or not. Takes the options of run.
    """
    now = datetime.now(UTC)
    bundle = SupportBundle("edgecore", now)
    place = _place(sources)
    bundle.add("version.txt", f"edgecore {version('cloudedge')}\n")
    with Underway("collecting"):
        bundle.collect("configuration.json", lambda: _configuration(sources))
        bundle.collect("status.json", lambda: shape(gather(place, now)))
        bundle.collect("doctor.json", lambda: json.loads(as_json(examine(sources))))
        bundle.collect("store.json", lambda: _listing(place))
        bundle.collect("metrics.txt", lambda: ask(place.data_dir / SOCKET, "/metrics").decode())
        bundle.collect("journal.txt", _journal)
    bundle.save(file)
    typer.echo(f"{file} is written: look through it before you give it to others", err=True)
    for line in bundle.missing:
        typer.echo(f"not in it: {line}", err=True)


def _place(sources: Sources) -> Place:
    given = sources.flags.get("data_dir")
    return find_place(sources.file, Path(str(given)) if given else None, sources.environ)


def _configuration(sources: Sources) -> dict[str, object]:
    """Return the options in force, without those that are secret."""
    settings = load(EdgeCoreSettings, sources).settings
    public = [name for name, one in settings.options().items() if not one.is_secret]
    return {name: _plain(getattr(settings, name)) for name in public}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _listing(place: Place) -> list[dict[str, object]]:
    held = read_store(place.data_dir / FILE_NAME, lambda reader: reader.listing())
    return [item(one) for one in held]


def _journal() -> str:
    """Return the last lines of edgecore's journal.

    Raises:
        StoreError: there is no journal.
        OSError: it cannot be read.
    """
    program = shutil.which("journalctl")
    if program is None:
        raise StoreError("this machine has no journalctl")
    command = [program, f"--unit={_UNIT}", f"--lines={_LINES}", "--no-pager", "--utc"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_JOURNAL_S, check=False)  # noqa: S603 - a fixed command
    except subprocess.TimeoutExpired as error:
        raise StoreError("journalctl does not answer") from error
    if done.returncode != 0:
        raise StoreError(done.stderr.decode(errors="replace").strip() or "journalctl failed")
    return done.stdout.decode(errors="replace")
