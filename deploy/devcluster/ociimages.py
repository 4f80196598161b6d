"""Small container images, made on the spot from this machine's busybox: no registry is asked.

The result is an archive with an OCI image layout, which ``ctr images import`` takes. The same
busybox gives the same bytes, and making them takes a fraction of a second, so nothing is cached.
"""

import io
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.oci import Archive, add_file

BUSYBOX: Final = "docker.io/library/busybox:latest"
"""Says nothing of a command, so that a pod has to."""

PAUSE: Final = "docker.io/library/pause:latest"
"""What holds a sandbox."""

GUEST: Final = "docker.io/library/guest:latest"
"""Runs as user 1000 and has an entry point: it prints its arguments and stays until asked."""

NAMED: Final = "docker.io/library/named:latest"
"""Runs as the user ``nobody``, whose number only its own files tell."""

_LONGEST_SLEEP_S: Final = "2147483647"
_STAY: Final = 'trap "exit 0" TERM; echo "guest: $*"; while :; do sleep 0.1; done'
_USERS: Final = (
    "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
)
_GROUPS: Final = "root:x:0:\nguest:x:1000:\nstaff:x:50:guest\nnobody:x:65534:\n"
# Name and mode; a runtime mounts on some of them.
_FOLDERS: Final = (
    *(("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("proc", 0o755), ("root", 0o700)),
    *(("sys", 0o755), ("tmp", 0o1777), ("var", 0o755)),
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image: busybox's files, and what they are run with."""

    name: str
    """The full name, with registry and tag."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""


IMAGES: Final = (
    Image(BUSYBOX, cmd=("sh",)),
    Image(PAUSE, entrypoint=("/bin/sleep", _LONGEST_SLEEP_S)),
    Image(
        GUEST,
        entrypoint=("/bin/sh", "-c", _STAY, "guest"),
        cmd=("welcome",),
        user="1000",
        working_dir="/tmp",  # noqa: S108 - a path in the image
    ),
    Image(NAMED, entrypoint=("/bin/sleep", _LONGEST_SLEEP_S), user="nobody"),
)
"""What every engine has."""


def write_archive(path: Path, busybox: Path, images: Sequence[Image] = IMAGES) -> None:
    """Write an archive of ``images`` to ``path``.

    Args:
        path: of the file, which is replaced.
        busybox: a static one, which runs where nothing else is; it is asked for its applets.
        images: they share their one layer.

    Raises:
        OSError: ``busybox`` cannot be read or run, or ``path`` cannot be written.
        subprocess.CalledProcessError: ``busybox`` does not list its applets.
    """
    applets = subprocess.run(
        [str(busybox), "--list"], check=True, capture_output=True, text=True
    ).stdout.split()
    archive = Archive()
    layer = archive.add_layer(_layer(busybox.read_bytes(), applets))
    for image in images:
        archive.add_image(image.name, [layer], _config(image))
    archive.write(path)


def _config(image: Image) -> dict[str, Any]:
    config: dict[str, Any] = {"Env": ["PATH=/usr/bin:/bin"], "WorkingDir": image.working_dir or "/"}
    if image.entrypoint:
        config["Entrypoint"] = image.entrypoint
    if image.cmd:
        config["Cmd"] = image.cmd
    if image.user:
        config["User"] = image.user
    return config


def _layer(busybox: bytes, applets: Sequence[str]) -> bytes:
    """The file system: busybox under all its names, and two files that name users."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        for name, mode in _FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            layer.addfile(folder)
        add_file(layer, "bin/busybox", busybox, 0o755)
        for applet in sorted(set(applets) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            layer.addfile(link)
        add_file(layer, "etc/passwd", _USERS.encode())
        add_file(layer, "etc/group", _GROUPS.encode())
    return content.getvalue()
