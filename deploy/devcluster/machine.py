"""Whether containers can run on this machine, and how.

What a container engine does to a machine is tried rather than guessed from what is mounted where.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from deploy.devcluster.engineconfig import CNI_PROGRAMS
from deploy.devcluster.remains import ENGINE, SHIM, find_program

# Where each program comes from on Debian.
_PACKAGES: Final = {
    ENGINE: "containerd",
    "ctr": "containerd",
    SHIM: "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
}
_PLUGINS: Final = ("bridge", "host-local", "loopback", "portmap")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_COMMAND_S: Final = 30.0
# The path of the interpreter lies in the first page of a program that is not static.
_PAGE_BYTES: Final = 4096


class ContainerEngineError(Exception):
    """A container engine cannot do its work; the message says why."""


def missing_packages() -> list[str]:
    """Return what has to be installed before containers can run, as Debian calls it."""
    found = {package for name, package in _PACKAGES.items() if find_program(name) is None}
    if not all((CNI_PROGRAMS / name).exists() for name in _PLUGINS):
        found.add("containernetworking-plugins")
    busybox = find_program("busybox")
    # Another busybox may be there, which finds no libraries in a container.
    if busybox is None or b"/ld-" in Path(busybox).read_bytes()[:_PAGE_BYTES]:
        found.add("busybox-static")
    return sorted(found)


def why_not() -> str:
    """Return why containers cannot run on this machine, in a few words; "" where they can.

    It looks for programs, and tries what an engine does to the machine: mount something, make a
    bridge.
    """
    if missing := missing_packages():
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "not root"
    # Version 2 has one tree, version 1 has one for each controller.
    unified = (_CGROUPS / "cgroup.controllers").exists()
    if not os.access(_CGROUPS if unified else _CGROUPS / "memory", os.W_OK):
        return f"no cgroups to write to at {_CGROUPS}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            run("mount", "-t", "tmpfs", "none", folder)
            run("umount", folder)
        trial = f"trial{os.getpid()}"  # another process may try at the same time
        run("ip", "link", "add", trial, "type", "bridge")
        run("ip", "link", "delete", trial)
    except ContainerEngineError as error:
        return str(error)
    return ""


def program(name: str) -> Path:
    """Return the path of a program.

    Raises:
        ContainerEngineError: it is not installed.
    """
    path = find_program(name)
    if path is None:
        raise ContainerEngineError(f"not installed: {name}")
    return Path(path)


def run(name: str, *arguments: str) -> None:
    """Run a command.

    Raises:
        ContainerEngineError: it is not installed, or it fails; with its words.
    """
    try:
        subprocess.run(
            [str(program(name)), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=_COMMAND_S,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip()
        raise ContainerEngineError(f"{name} {' '.join(arguments)}: {said}") from error


def snapshotter(folder: Path) -> str:
    """Return the snapshotter for ``folder``: overlayfs, or native where no overlay can lie there.

    Inside another container that is so; native copies each image for each container.
    """
    with tempfile.TemporaryDirectory(dir=folder) as trial:
        parts = {name: Path(trial, name) for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir()
        options = ",".join(f"{name}dir={parts[name]}" for name in ("lower", "upper", "work"))
        try:
            run("mount", "-t", "overlay", "overlay", "-o", options, str(parts["merged"]))
        except ContainerEngineError:
            return "native"
        run("umount", str(parts["merged"]))
        # Overlay makes a folder in `work` that only it may enter.
        shutil.rmtree(parts["work"])
    return "overlayfs"
