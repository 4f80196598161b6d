"""A running edge: the program that takes the place of ``edgecore run`` once all is told and judged.

A small device pays for what it imports for as long as it runs: nothing here may need what reads
configurations and command lines.
"""

import gc
import sys
from typing import Final

NAME: Final = "edgecore"


def main() -> None:
    """Run the edge that the command line has handed over; ends as ``run_daemon`` does."""
    # What is imported stays: to look for garbage among it takes a fifteenth of the time.
    gc.disable()
    from common.daemon import run_daemon  # noqa: PLC0415 - as all of these: after that
    from common.handover import be_called, take_over  # noqa: PLC0415
    from edgecore import app  # noqa: PLC0415
    from edgecore.config import EdgeCoreSettings  # noqa: PLC0415

    try:
        settings = take_over(EdgeCoreSettings, sys.argv[1])
    except (IndexError, ValueError, OSError):
        sys.exit("this program is started by another one: call `edgecore run`")
    be_called(NAME)
    run_daemon(NAME, app.run, settings)


if __name__ == "__main__":
    main()
