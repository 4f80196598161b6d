"""Make one tar with all that an edge needs: ``python -m deploy.bundle FOLDER``, or ``make bundle``.

It is for machines like this one: the same minor version of Python, architecture and C library.
"""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipapp
from dataclasses import asdict
from pathlib import Path
from typing import Final

from deploy.wheel import PIP, ROOT, build, project_version
from edgecore.install import installer

_LIMIT_S: Final = 1800.0
_EPOCH_S: Final = 315_532_800  # 1980, the first year that zip knows
_PIP: Final = "pip"
_MAIN: Final = (
    "import sys\nfrom edgecore.install.installer import main\nsys.exit(main(sys.argv[1:]))\n"
)


def make(target: Path, *, version: str = "") -> Path:
    """Make a bundle of this checkout below ``target``; return it.

    Args:
        target: folder of the bundle; made if it is missing.
        version: what it calls itself; that of the project unless given.

    Raises:
        CalledProcessError: pip cannot get or build what is needed; its words were shown.
    """
    version = version or project_version()
    manifest = installer.Manifest(
        version, f"{sys.version_info[0]}.{sys.version_info[1]}", installer.platform_here()
    )
    name = f"edgecore-{version}-py{manifest.python}-{manifest.platform}"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as temporary:
        folder = Path(temporary) / name
        wheels = folder / installer.WHEELS
        wheels.mkdir(parents=True)
        requirements = ROOT / "requirements" / "edge.txt"
        shutil.copyfile(requirements, folder / installer.REQUIREMENTS)
        _pip(
            "download",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "-r",
            requirements,
            "-d",
            wheels,
        )
        # Whatever pip the machine has, or none: the one here is the one that was tried.
        _pip(
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            f"{_PIP}=={_version_of_pip()}",
            "-d",
            wheels,
        )
        build(wheels, version=version)
        make_installer(folder / "install.pyz", Path(temporary))
        (folder / installer.MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")
        installer.write_sums(folder)
        return pack(folder, target / f"{name}.tar")


def make_installer(path: Path, temporary: Path) -> None:
    """Make the program that installs the bundle in which it lies; it needs nothing but Python."""
    source = temporary / "installer"
    for name in (*installer.LAUNCHER_MODULES, "install/installer.py"):
        place = source / "edgecore" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "edgecore" / name, place)
    (source / "__main__.py").write_text(_MAIN)
    zipapp.create_archive(source, path, interpreter="/usr/bin/env -S python3 -I")


def pack(folder: Path, path: Path) -> Path:
    """Pack ``folder`` into the tar ``path``, and return that: owners and times are nobody's."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = _EPOCH_S
        member.mode = 0o755 if member.isdir() or member.name.endswith(".pyz") else 0o644
        return member

    unfinished = path.with_name(f".{path.name}")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(folder, folder.name, recursive=False, filter=plain)
        for one in sorted(folder.rglob("*")):
            name = f"{folder.name}/{one.relative_to(folder).as_posix()}"
            archive.add(one, name, recursive=False, filter=plain)
    unfinished.replace(path)
    return path


def main(arguments: list[str]) -> int:
    """Make a bundle in the folder that is named, and say where it is."""
    made = make(Path(arguments[0]), version=arguments[1] if len(arguments) > 1 else "")
    print(made)  # noqa: T201 - what it is for
    return 0


def _version_of_pip() -> str:
    return importlib.metadata.version(_PIP)


def _pip(*arguments: str | Path) -> None:
    subprocess.run([*PIP, *map(str, arguments)], check=True, timeout=_LIMIT_S)  # noqa: S603 - our own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
