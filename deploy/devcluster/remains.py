"""End what outlives a container engine on purpose: containers, their shims, mounts and networks.

Also a program of its own, the guard of an engine: it waits until its standard input ends, which
is when the process that started it is gone however it went, and then cleans up. Hence it imports
nothing of ours.
"""

import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ENGINE: Final = "containerd"
SHIM: Final = "containerd-shim-runc-v2"
"""It stands between the engine and the containers of a pod, and survives the engine."""

_CNI_RESULTS: Final = Path("/var/lib/cni/results")
_COMMAND_S: Final = 30.0
_END_S: Final = 10.0
_SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"
# The kernel writes space, tab, newline and backslash of a path in octal.
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def find_program(name: str) -> str | None:
    """Return the path of a program, which may be one for root only; None where there is none."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


def end_containers(folder: Path) -> None:
    """End the engine in ``folder`` as a power cut does, whether it runs or not.

    Containers and shims are killed, what is mounted below ``folder`` is unmounted, and the folders
    ``state`` and ``runc`` go. Images and records, in ``root``, stay. Blocks for up to seconds.
    """
    # In this order: the engine must not start anything any more, nor a shim clean up behind us.
    _kill(processes_of(folder, ENGINE))
    for container in folder.glob("runc/*/*"):
        # It kills all processes of the container's cgroup and removes that.
        run("runc", "--root", str(container.parent), "delete", "--force", container.name)
    _kill(processes_of(folder, SHIM))
    for address in folder.glob("state/io.containerd.runtime.v2.task/*/*/address"):
        with contextlib.suppress(OSError):
            Path(address.read_text().strip().removeprefix("unix://")).unlink()
    for sandbox in folder.glob("root/io.containerd.grpc.v1.cri/sandboxes/*"):
        # Nobody else removes it, once the sandbox has lost its network namespace.
        (_CNI_RESULTS / f"cni-loopback-{sandbox.name}-lo").unlink(missing_ok=True)
    for mounted in reversed(mounts_below(folder)):
        run("umount", "--lazy", str(mounted))
    for name in ("state", "runc"):
        shutil.rmtree(folder / name, ignore_errors=True)


def remove_network(name: str) -> None:
    """Remove a bridge, and what network plugins keep outside an engine's folder for it."""
    run("ip", "link", "delete", name)
    for result in _CNI_RESULTS.glob(f"{name}-*"):
        result.unlink(missing_ok=True)
    _remove_host_ports(name)


def run(program: str, *arguments: str) -> str:
    """Run a command and return what it prints; "" where it fails: it may find nothing to do."""
    path = find_program(program)
    if path is None:
        return ""
    with contextlib.suppress(subprocess.SubprocessError):
        return subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=_COMMAND_S,
        ).stdout
    return ""


def mounts_below(folder: Path) -> list[Path]:
    """Return what is mounted below ``folder``, in the order in which it was mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (_OCTAL.sub(lambda code: chr(int(code[1], 8)), line.split()[4]) for line in lines)
    return [Path(point) for point in points if Path(point).is_relative_to(folder)]


def processes_of(folder: Path, program: str) -> list[int]:
    """Return the processes of a program whose command line names something in ``folder``."""
    return [
        pid
        for pid, words in _command_lines()
        if Path(words[0]).name == program and any(word.startswith(f"{folder}/") for word in words)
    ]


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            # It may end while we look.
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(process.name), words


def _kill(pids: Sequence[int]) -> None:
    """Kill processes; all are gone when it returns."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], _END_S)
            finally:
                os.close(handle)


def _remove_host_ports(name: str) -> None:
    # The plugin `portmap` makes a rule with the network's name in its comment for each pod, which
    # jumps to a chain of the pod's own.
    chains = set()
    for line in run("iptables", "--table", "nat", "--list-rules").splitlines():
        words = shlex.split(line)
        if words[0] == "-A" and any(f'name: "{name}"' in word for word in words):
            run("iptables", "--table", "nat", "--delete", *words[1:])
            chains.add(words[-1])
    for chain in chains:
        run("iptables", "--table", "nat", "--flush", chain)
        run("iptables", "--table", "nat", "--delete-chain", chain)


def _guard(folder: Path, network: str) -> None:
    sys.stdin.read()
    end_containers(folder)
    remove_network(network)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]), sys.argv[2])
