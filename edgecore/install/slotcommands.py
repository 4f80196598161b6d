"""``edgecore upgrade`` and ``edgecore rollback``, as they stand on the command line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError, EdgeError
from common.underway import Underway
from edgecore.commands.place import ConfigOption, find_place
from edgecore.install import installer, slots, upgrading
from edgecore.install.installer import BundleError
from edgecore.install.machine import Machine
from edgecore.install.slots import SlotError

HomeOption = Annotated[Path, typer.Option(help="Folder of the versions, and of the launcher.")]


def upgrade(
    *,
    bundle: Annotated[
        Path | None, typer.Option(help="The new version: what `make bundle` has made.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--to", help="A version that is installed already.")
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = slots.HOME,
) -> None:
    """Run another version, and go back by itself where that does not work. No pod is touched."""
    if (bundle is None) == (version is None):
        raise ConfigError(["give --bundle or --to"])
    data_dir = find_place(config, None).data_dir
    with as_edge_errors(), Underway("upgrading edgecore") as underway:
        if not slots.read_state(home).current:
            raise EdgeError(
                f"no version runs from {home}: this edge was installed in another way. `edgecore"
                " join HOST --bundle FILE` changes over, and pods run on"
            )
        wanted = version or _installed(bundle, home, underway.say)
        if not slots.program_of(home, wanted).exists():
            raise ConfigError([f"--to {wanted}: not installed below {home}; give --bundle"])
        upgrading.upgrade(home, wanted, data_dir, Machine(), underway.say)


def rollback(*, home: HomeOption = slots.HOME) -> None:
    """Run the version before the present one again. No pod is touched."""
    with as_edge_errors():
        upgrading.rollback(home, Machine(), typer.echo)


@contextmanager
def as_edge_errors() -> Iterator[None]:
    """Raise what modules without the rest of this project raise as what the program expects."""
    try:
        yield
    except (BundleError, SlotError) as error:
        raise EdgeError(str(error)) from error


def _installed(bundle: Path | None, home: Path, say: Callable[[str], None]) -> str:
    assert bundle is not None  # one of the two is given
    version = installer.version_of(bundle)
    for line in installer.install(bundle, home):
        say(line)
    return version
