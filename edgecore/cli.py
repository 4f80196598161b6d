"""The command line of edgecore.

The way to a running edge is short: a device may be slow, and waits for its pods. Everything else
that there is to call stands in ``edgecore.commands.tree``.
"""

import os
import sys

from common.config import Sources, load
from common.errors import EdgeError
from common.failing import fail
from common.flags import plain_sources
from edgecore.commands.running import NAME, run
from edgecore.config import ENV_PREFIX, EdgeCoreSettings


def main() -> None:
    """Run the command line; exit with 2 for a faulty configuration and 1 for a failure."""
    try:
        sources = _sources()
        if sources is not None:
            run(load(EdgeCoreSettings, sources).settings)
        # Not at the top: they bring typer along, and whatever any of them needs.
        from edgecore.commands.tree import commands  # noqa: PLC0415

        commands()()
    except EdgeError as error:
        fail(NAME, [error])


def _sources() -> Sources | None:
    """Return where ``edgecore run`` is told what to do; None for any other command."""
    if sys.argv[1:2] != ["run"]:
        return None
    return plain_sources(EdgeCoreSettings, sys.argv[2:], ENV_PREFIX, os.environ)
