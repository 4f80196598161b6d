"""Hold a network namespace, and end all that runs in it when whoever wanted it is gone.

A program of its own: it moves to a new network namespace, says so with a line on its standard
output, and waits until its standard input ends, which is when the process that started it is gone
however it went. Then it kills every process of the namespace, and runs the command that is its
arguments. The kernel removes the namespace with all that is in it after the last process; if that
left a TCP connection, once it has given that up, which takes minutes. It imports nothing of ours.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

READY: Final = "ready"
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
_END_S: Final = 10.0
_POLL_S: Final = 0.01


def _main() -> None:
    before = _namespace("self")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        sys.exit(f"unshare: {os.strerror(number)}")
    own = _namespace("self")
    # Everything in `own` is going to be killed: it must not be where we come from.
    assert own != before
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    sys.stdin.read()
    _end_all(own)
    subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False)


def _end_all(namespace: str) -> None:
    deadline = time.monotonic() + _END_S
    while (others := _processes(namespace)) and time.monotonic() < deadline:
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _processes(namespace: str) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in pids if pid != os.getpid() and _namespace(str(pid)) == namespace]


def _namespace(process: str) -> str:
    """Return what names the network namespace of a process; "" where that has ended."""
    with contextlib.suppress(OSError):
        return str(Path("/proc", process, "ns/net").readlink())
    return ""


if __name__ == "__main__":
    _main()
