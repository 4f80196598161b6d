"""The files of an image: Debian's Python, the packages of a daemon, and the daemon.

No package is installed on this machine, and nobody has to be root: packages are fetched and
unpacked, which needs ``apt-get`` and ``dpkg-deb``, and wheels are put beside them by pip.

What is not ours is kept as bytecode alone, which takes half the room, and which a root that is
read-only needs anyway: Python would compile it again at each start. Ours has its sources, so that a
traceback can be read.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.images import recipe

_TIMEOUT_S: Final = 600.0
_SAID: Final = 2000

_MERGED: Final = ("bin", "sbin", "lib", "lib64")
_FOLDERS: Final = (
    *(("tmp", 0o1777), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("run", 0o755)),
    *(("etc/cloudedge", 0o755), ("var/lib/cloudedge", 0o755)),
)
_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/:/nonexistent\n"
    f"cloudedge:x:{recipe.USER}:{recipe.USER}:cloudedge:/nonexistent:/nonexistent\n",
    "etc/group": f"root:x:0:\ncloudedge:x:{recipe.USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

# The models of the whole Kubernetes API are imported at once; a third of them is documentation.
_WITHOUT_DOCSTRINGS: Final = ("kubernetes",)


class ImageError(Exception):
    """An image cannot be made; the message says why and what to do."""


def run(*command: str | Path, folder: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        ImageError: it is not there, or it fails; with its words.
    """
    words = [str(one) for one in command]
    try:
        return subprocess.run(  # noqa: S603 - each caller's words are its own
            words,
            cwd=folder,
            env=None if env is None else os.environ | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=_TIMEOUT_S,
        ).stdout
    except FileNotFoundError as error:
        raise ImageError(f"not installed: {words[0]}") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or "").strip()[-_SAID:]
        raise ImageError(f"{words[0]} {words[1]}: {said or error}") from error


def debian_packages() -> list[str]:
    """Return the names of Debian's packages that an image has, on this release of Debian.

    Raises:
        ImageError: this is no Debian, or it knows no packages.
    """
    options = [f"--no-{one}" for one in ("recommends", "suggests", "conflicts", "breaks")]
    options += [f"--no-{one}" for one in ("replaces", "enhances")]
    listed = run("apt-cache", "depends", "--recurse", *options, "python3")
    found = recipe.closure(listed)
    if not any(name.startswith("libpython3") for name in found):
        raise ImageError("apt knows no package python3: apt-get update")
    return found


def fetch(packages: Sequence[str], folder: Path) -> None:
    """Fetch Debian's ``packages`` into ``folder``.

    Raises:
        ImageError: one cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # What fetches is a user of its own where apt is root; the folder is nothing to hide from it.
    run("apt-get", "--option=APT::Sandbox::User=", "download", *packages, folder=folder)


def make_base(root: Path, downloads: Path, packages: Sequence[str]) -> str:
    """Make the files that both images have, in ``root``.

    Args:
        root: a folder that does not exist yet.
        downloads: where ``fetch`` has put ``packages``.
        packages: the names of them.

    Returns:
        The name of its Python: ``python3.11``.

    Raises:
        ImageError: its Python is not of the version that runs this, or a package is damaged.
    """
    python = recipe.python_of(packages)
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if python != ours:
        raise ImageError(
            f"Debian has {python} and this is {ours}, and wheels fit one of them only:"
            f" make PYTHON={python} images"
        )
    root.mkdir(parents=True)
    for archive in sorted(downloads.glob("*.deb")):
        run("dpkg-deb", "--extract", archive, root)
    _merge(root)
    _leave_out(root)
    for name, mode in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    for one in (root / "usr/bin").iterdir():
        if one.name not in {python, "ldconfig"}:
            one.unlink()
    compile_tree(root, root / f"usr/lib/{python}")
    return python


def add_packages(root: Path, base: Path, python: str, requirements: Path) -> None:
    """Put the packages that ``requirements`` pins into ``root``, to be laid over ``base``.

    Raises:
        ImageError: one cannot be had as a wheel, or is not what it should be.
    """
    target = _site(root, python)
    _pip("--require-hashes", "--requirement", requirements, target=target)
    shutil.rmtree(target / "bin", ignore_errors=True)  # commands, with this machine's paths
    _leave_out(root)
    libraries = [one for one in target.rglob("*.so*") if one.is_file() and not one.is_symlink()]
    if libraries:
        run("strip", "--strip-unneeded", *libraries)
    compile_tree(base, target)


def add_daemon(root: Path, base: Path, python: str, wheel: Path, wanted: recipe.Recipe) -> None:
    """Put a daemon and its command into ``root``, to be laid over ``base``.

    Args:
        root: gets it.
        base: has the Python.
        python: its name.
        wheel: the project's.
        wanted: names the daemon.

    Raises:
        ImageError: the wheel is none.
    """
    target = _site(root, python)
    _pip("--no-deps", "--no-index", wheel, target=target)
    for one in ("bin", *wanted.without):
        shutil.rmtree(target / one, ignore_errors=True)
    compile_tree(base, target, keep_sources=True)
    command = root / "usr/local/bin" / wanted.name
    command.parent.mkdir(parents=True)
    start = f"from {wanted.name}.cli import main\n\nmain()\n"
    command.write_text(f"#!/usr/bin/{python} -IB\n{start}")
    command.chmod(0o755)


def size_bytes(root: Path) -> int:
    """Return the size of all files below ``root``."""
    return sum(one.lstat().st_size for one in root.rglob("*") if not one.is_dir())


def compile_tree(base: Path, folder: Path, *, keep_sources: bool = False) -> None:
    """Compile what is in ``folder`` by the Python of ``base``.

    Bytecode says by itself that it is good: files in an image get other times than they had.
    """
    python = _python(base)
    options = ["-q", "--invalidation-mode=unchecked-hash", "-j", "0"]
    if keep_sources:
        run(*python, "-m", "compileall", *options, "-s", folder, folder)
        return
    for name in _WITHOUT_DOCSTRINGS:
        if (folder / name).is_dir():
            run(*python, "-m", "compileall", *options, "-b", "-o", "2", folder / name)
            _drop_sources(folder / name)
    run(*python, "-m", "compileall", *options, "-b", folder)
    _drop_sources(folder)


def _python(base: Path) -> tuple[str | Path, ...]:
    """Return the command that runs the Python of ``base``, with its own libraries."""
    loader = next((base / "usr").glob("lib*/ld-linux*.so.*"), None)
    loader = loader or next((base / "usr/lib").glob("*/ld-linux*.so.*"), None)
    program = next((base / "usr/bin").glob("python3.*"), None)
    if loader is None or program is None:
        raise ImageError("Debian's packages have no Python, or no loader for it")
    folders = ":".join(str(one) for one in (base / "usr/lib").glob("*-linux-*"))
    home = ("/usr/bin/env", f"PYTHONHOME={base / 'usr'}", "PYTHONDONTWRITEBYTECODE=1")
    return (*home, loader, "--library-path", folders, program)


def _drop_sources(folder: Path) -> None:
    for one in folder.rglob("*.py"):
        # Some of the standard library's test data is no Python at all.
        one.unlink()
    for one in list(folder.rglob("__pycache__")):
        shutil.rmtree(one)


def _pip(*what: str | Path, target: Path) -> None:
    # pip has no word for it, and would leave bytecode of this machine's Python.
    quiet = ("--quiet", "--disable-pip-version-check", "--no-compile", "--no-input")
    only = ("--only-binary=:all:",) if "--require-hashes" in what else ()
    warnings = {"PYTHONWARNINGS": "ignore", "PIP_ROOT_USER_ACTION": "ignore"}
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        *quiet,
        *only,
        "--target",
        target,
        *what,
        env=warnings,
    )


def _site(root: Path, python: str) -> Path:
    """Return where Debian's Python looks for what is not Debian's."""
    return root / f"usr/local/lib/{python}/dist-packages"


def _merge(root: Path) -> None:
    """Make ``/lib`` and the like links into ``/usr``, as Debian's own installation does."""
    for name in _MERGED:
        old, new = root / name, root / "usr" / name
        new.mkdir(parents=True, exist_ok=True)
        if old.is_dir() and not old.is_symlink():
            shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)
        if not old.is_symlink():
            old.symlink_to(f"usr/{name}")


def _leave_out(root: Path) -> None:
    for one in sorted(root.rglob("*"), reverse=True):  # what is in a folder before the folder
        if not recipe.is_left_out(str(one.relative_to(root))):
            continue
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
