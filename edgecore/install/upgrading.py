"""``edgecore upgrade`` and ``edgecore rollback``: another version runs, or the one before again.

Only the daemon is replaced: what its pods consist of runs on, and is found again by what comes.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from common.errors import EdgeError
from edgecore.install import slots
from edgecore.install.joining import link_of
from edgecore.install.machine import Machine
from edgecore.install.paperwork import UNIT
from edgecore.install.slots import State

VERDICT_WITHIN_S: Final = slots.TRIAL_S * slots.MAX_ATTEMPTS
_POLL_S: Final = 0.25

Say = Callable[[str], None]


class LeftAgainError(EdgeError):
    """The new version did not show that it works; the one before runs again."""


def upgrade(home: Path, version: str, data_dir: Path, machine: Machine, say: Say) -> None:
    """Have ``version``, which is installed, run; return once it has shown that it works.

    It has if it is ready, and connected if the version before it was.

    Raises:
        LeftAgainError: it has not.
        EdgeError: the service cannot be started anew, or there is no verdict in time.
        SlotError: the state cannot be read or kept.
    """
    state = slots.read_state(home)
    if version == state.current:
        say(f"unchanged: version {version} is the one that runs")
        return
    hub = link_of(data_dir)
    wants_link = hub is not None and hub.get("connected") is True
    begun = slots.begin_trial(state, version, wants_link=wants_link, data_dir=str(data_dir))
    slots.write_state(home, begun)
    fallback = f"; {begun.previous} runs again if it fails" if begun.on_trial else ""
    say(f"chosen: version {version}{fallback}")
    if not _restarted(machine, say):
        return
    settled = _verdict(home)
    if settled.current != version:
        raise LeftAgainError(
            f"version {version} was left again: {settled.why}; version {settled.current} runs, and"
            f" no pod was touched. `journalctl -u {UNIT}` may say more"
        )
    say(f"works: version {version}")


def rollback(home: Path, machine: Machine, say: Say) -> None:
    """Have the version before the present one run.

    Raises:
        SlotError: there is none, or the state cannot be read or kept.
        EdgeError: the service cannot be started anew.
    """
    state = slots.go_back(slots.read_state(home))
    if not slots.is_there(home, state.current):
        raise slots.SlotError(
            f"version {state.current} is not installed any more; nothing was changed. Installed:"
            f" {', '.join(slots.installed(home)) or 'none'}; `edgecore upgrade --to` takes one"
        )
    slots.write_state(home, state)
    say(f"chosen: version {state.current}")
    _restarted(machine, say)


def _restarted(machine: Machine, say: Say) -> bool:
    if not machine.has_systemd:
        say("not restarted: there is no systemd here; stop edgecore and start it again")
        return False
    # A version that ends at once is no failure of this: the launcher counts, and goes back.
    machine.systemctl("restart", "--no-block", UNIT)
    say(f"restarted: {UNIT}")
    return True


def _verdict(home: Path) -> State:
    deadline_s = time.monotonic() + VERDICT_WITHIN_S
    while (state := slots.read_state(home)).on_trial:
        if time.monotonic() > deadline_s:
            raise EdgeError(
                f"version {state.current} has neither shown that it works nor been left after"
                f" {VERDICT_WITHIN_S:g} s: see `systemctl status {UNIT}`"
            )
        time.sleep(_POLL_S)
    return state
