"""``edgecore run`` and ``edgecore hollow``: the edge itself, which other programs carry out."""

import os
import sys
from dataclasses import replace
from typing import Final

from common.extras import check_extra
from common.handover import hand_over
from edgecore.config import EdgeCoreSettings, HollowSettings, RuntimeName
from edgecore.tokensource import SettingsT, clear_traces, credential_token, take_token

NAME: Final = "edgecore"


def run(settings: EdgeCoreSettings) -> None:
    """Run this edge until SIGTERM or SIGINT; a second signal stops it at once."""
    if settings.runtime is not RuntimeName.HOLLOW:
        check_extra("edge")
    hand_over("edgecore.daemon", _without_traces(settings), settings.node_name)


def hollow(settings: HollowSettings) -> None:
    """Run many edges without containers in one process, for tests of the cloud's scale."""
    # Not at the top: no other command runs an edge in its own process.
    from common.daemon import raise_descriptor_limit, run_daemon  # noqa: PLC0415
    from edgecore.app import run_hollow  # noqa: PLC0415

    raise_descriptor_limit()  # each edge holds seven files
    run_daemon(NAME, run_hollow, _without_traces(settings))


def _without_traces(settings: SettingsT) -> SettingsT:
    """Return ``settings`` with the token in them, which lies nowhere else afterwards."""
    notes = clear_traces(os.environ, sys.argv)
    taken = take_token(credential_token(settings, os.environ), sys.stdin.buffer)
    return replace(taken, notes=(*taken.notes, *notes))
