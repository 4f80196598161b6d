"""A running edge: the program that takes the place of ``edgecore run`` once all is told and judged.

A small device pays for what it imports for as long as it runs: nothing here may need what reads
configurations and command lines.
"""

import sys
from typing import Final

from common.daemon import run_daemon
from common.handover import be_called, take_over
from edgecore import app
from edgecore.config import EdgeCoreSettings

NAME: Final = "edgecore"


def main() -> None:
    """Run the edge that the command line has handed over; ends as ``run_daemon`` does."""
    try:
        settings = take_over(EdgeCoreSettings, sys.argv[1])
    except (IndexError, ValueError, OSError):
        sys.exit("this program is started by another one: call `edgecore run`")
    be_called(NAME)
    run_daemon(NAME, app.run, settings)


if __name__ == "__main__":
    main()
