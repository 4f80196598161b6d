"""Where the program ``cloudcore`` begins, also where only what an edge needs is installed."""

from common.errors import ConfigError
from common.extras import check_extra
from common.failing import fail


def main() -> None:
    """Run the command line, or end with 2 and say what is to be installed for it."""
    try:
        check_extra("cloud")
    except ConfigError as error:
        fail("cloudcore", [error])
    # Not at the top: it needs what has just been looked for.
    from cloudcore.cli import main as run  # noqa: PLC0415

    run()
