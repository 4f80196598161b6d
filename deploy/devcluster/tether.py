"""Become another program that dies with its parent, however the parent dies.

Linux sends the signal when the *thread* that started the child ends, so children are started from
a thread that lives as long as they should: the one of the event loop, never one of a pool.

A program of its own instead of ``preexec_fn``: that runs Python between fork and exec, which can
deadlock in a process with threads. It imports as little as it can, since it delays each start.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_EXIT_PARENT_GONE: Final = 1


def tethered(command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` on a tether to the calling process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _main(parent: int, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # A parent that died before the call above can send nothing any more.
    if os.getppid() != parent:
        sys.exit(_EXIT_PARENT_GONE)
    os.execv(command[0], command)  # noqa: S606  (no shell is wanted)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
