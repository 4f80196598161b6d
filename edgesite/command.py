"""``cloudcore edgesite``."""

from collections.abc import Callable

from common.commandline import as_command
from common.daemon import run_daemon
from common.extras import check_extra
from edgesite import app
from edgesite.config import ENV_PREFIX, EdgeSiteSettings

NAME = "cloudcore edgesite"


def command() -> Callable[..., None]:
    """Return the command, which cloudcore's command line takes in."""
    return as_command(EdgeSiteSettings, edgesite, env_prefix=ENV_PREFIX)


def edgesite(settings: EdgeSiteSettings) -> None:
    """Run the pods of this machine for an API server at the same site, without a link between.

    What cloudcore and edgecore do, in one process; until SIGTERM or SIGINT. A second signal stops
    it at once. Containers go on running.
    """
    check_extra("edge")
    run_daemon(NAME, app.run, settings)
