"""Install the version that a bundle has into a slot of its own. Standard library only.

A bundle is one tar: ``edgecore-<version>-<platform>/`` with ``bundle.json``, ``SHA256SUMS``,
``wheels/``, ``requirements.txt`` and ``install.pyz``, which is this module as a program. Nothing of
it is believed before the checksums hold, and no network is asked.
"""

import hashlib
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipapp
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from edgecore.install import slots
from edgecore.install.slots import SlotError

MANIFEST = "bundle.json"
SUMS = "SHA256SUMS"
REQUIREMENTS = "requirements.txt"
WHEELS = "wheels"
LAUNCHER_MODULES = (
    "__init__.py",
    "install/__init__.py",
    "install/launcher.py",
    "install/slots.py",
    "install/storecopy.py",
)

MAX_BYTES = 512 * 1024 * 1024
"""A bundle that unpacks to more is none."""
MAX_MEMBERS = 2000

_PIP_S = 1800.0  # on a slow card
_PROGRAM_MODE = 0o755


class BundleError(Exception):
    """The bundle cannot be installed; the text says why, and what would help."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself."""

    version: str
    python: str
    """``3.11``: the wheels are for this one."""
    platform: str
    """As ``platform_here`` returns it."""


def install(bundle: Path, home: Path, python: str = sys.executable) -> Iterator[str]:
    """Install what ``bundle`` has; yield a line for each thing done.

    The first version is also made the one that runs. A version that is there already is left alone;
    one that was interrupted is made anew.

    Args:
        bundle: the tar, or the folder that somebody has unpacked it into.
        home: of the slots.
        python: makes the virtual environment.

    Raises:
        BundleError: it cannot be used, or does not fit this machine.
        SlotError: the state cannot be read or kept.
    """
    with _as_bundle_errors(home), _temporary_folder() as temporary:
        folder = bundle if bundle.is_dir() else unpack(bundle, Path(temporary))
        manifest = check(folder)
        yield from _make_slot(folder, manifest, home, python)
    if make_launcher(home):
        yield f"written: {slots.launcher_of(home)}"
    state = slots.read_state(home)
    if not state.current:
        slots.write_state(home, replace(state, current=manifest.version))
        yield f"chosen: version {manifest.version}"


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgecore-bundle.")


@contextmanager
def _as_bundle_errors(place: Path) -> Iterator[None]:
    """Raise what the machine's disks refuse as what whoever installs expects."""
    try:
        yield
    except OSError as error:
        raise BundleError(f"{place}: {error}") from error


def version_of(bundle: Path) -> str:
    """Return the version in ``bundle``, whose checksums hold.

    Raises:
        BundleError: it cannot be used, or does not fit this machine.
    """
    with _as_bundle_errors(bundle), _temporary_folder() as temporary:
        return check(bundle if bundle.is_dir() else unpack(bundle, Path(temporary))).version


def unpack(bundle: Path, target: Path) -> Path:
    """Unpack ``bundle`` below ``target``; return its folder. Only plain files, and only in there.

    Raises:
        BundleError: it is no tar, too large, or has something that would lie elsewhere.
    """
    try:
        with tarfile.open(bundle) as archive:
            top = _unpack(archive, target)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BundleError(f"{bundle}: cannot be unpacked: {error}") from error
    return target / top


def _unpack(archive: tarfile.TarFile, target: Path) -> str:
    tops: set[str] = set()
    size = 0
    for number, member in enumerate(archive):
        path = PurePosixPath(member.name)
        size += member.size
        if number >= MAX_MEMBERS or size > MAX_BYTES:
            raise BundleError("the bundle is too large to be one")
        if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in member.name:
            raise BundleError(f"the bundle wants to write to {member.name!r}: do not trust it")
        if not member.isreg() and not member.isdir():
            raise BundleError(f"the bundle has {member.name!r}, which is no file: do not trust it")
        tops.add(path.parts[0])
        # Links were refused above, so that no part of the path can lead elsewhere.
        place = target.joinpath(*path.parts)
        if member.isdir():
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            continue
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        source = archive.extractfile(member)
        assert source is not None  # it is a file
        with place.open("xb") as copy:
            shutil.copyfileobj(source, copy)
    if len(tops) != 1:
        raise BundleError("the bundle is not one folder")
    return tops.pop()


def check(folder: Path) -> Manifest:
    """Return what the bundle in ``folder`` says of itself, if all its files are as it says.

    Raises:
        BundleError: they are not, or it does not fit this machine.
    """
    sums = _sums(folder)
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not stat.S_ISDIR(path.lstat().st_mode)
    }
    if present - {SUMS} != set(sums):
        odd = ", ".join(sorted((present - {SUMS}) ^ set(sums))[:5])
        raise BundleError(f"the bundle lacks files, or has others than it says: {odd}")
    for name, wanted in sums.items():
        path = folder / name
        if path.is_symlink() or _digest(path) != wanted:
            raise BundleError(f"{name} is damaged: copy the bundle again")
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
        slots.checked_version(manifest.version)
    except (OSError, ValueError, TypeError, SlotError) as error:
        raise BundleError(f"{MANIFEST} cannot be used: {error}") from error
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if (manifest.python, manifest.platform) != (here, platform_here()):
        raise BundleError(
            f"the bundle is for Python {manifest.python} on {manifest.platform}, and this is"
            f" Python {here} on {platform_here()}: make it on a machine like this one"
        )
    return manifest


def platform_here() -> str:
    """Return what wheels of this machine are for."""
    libc = platform.libc_ver()[0] or "musl"
    return f"{sysconfig.get_platform()}-{libc}"


def write_sums(folder: Path) -> None:
    """Write the checksums of all files in ``folder``."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    lines = [f"{_digest(folder / name)}  {name}\n" for name in names if name != SUMS]
    (folder / SUMS).write_text("".join(lines))


def _sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, ValueError) as error:
        raise BundleError(f"{SUMS} cannot be read: {error}") from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1024 * 1024):
            found.update(block)
    return found.hexdigest()


def _make_slot(folder: Path, manifest: Manifest, home: Path, python: str) -> Iterator[str]:
    slot = slots.slot_of(home, manifest.version)
    if (slot / slots.COMPLETE).exists():
        yield f"unchanged: version {manifest.version} is installed"
        return
    if slot.exists():  # somebody pulled the plug
        shutil.rmtree(slot)
    slot.parent.mkdir(mode=_PROGRAM_MODE, parents=True, exist_ok=True)
    try:
        _fill_slot(folder, manifest, home, python)
        os.sync()  # what the mark says has to be true after a power cut as well
        (slot / slots.COMPLETE).write_text("")
        os.sync()
    except BaseException:  # on a full disk it would be in the way of everything else
        shutil.rmtree(slot, ignore_errors=True)
        raise
    yield f"installed: version {manifest.version} in {slot}"


def _fill_slot(folder: Path, manifest: Manifest, home: Path, python: str) -> None:
    slot = slots.slot_of(home, manifest.version)
    wheels = folder / WHEELS
    pip = next(wheels.glob("pip-*.whl"), None)
    if pip is None:
        raise BundleError("the bundle has no pip")
    # Isolated: nothing is taken from the current folder, which may be anybody's.
    _run([python, "-I", "-m", "venv", "--without-pip", str(slot)])
    inside = [str(slot / "bin" / "python"), str(pip / "pip"), "--quiet", "install", "--no-index"]
    common = ["--find-links", str(wheels), "--disable-pip-version-check"]
    _run([*inside, *common, "--require-hashes", "--requirement", str(folder / REQUIREMENTS)])
    own = [str(path) for path in wheels.glob("cloudedge-*.whl")]
    _run([*inside, *common, "--no-deps", *own])
    _run([str(slots.program_of(home, manifest.version)), "--version"])


def _run(command: Sequence[str]) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    try:
        done = subprocess.run(  # noqa: S603 - of our own making
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PIP_S,
            check=False,
            env=environ | {"PIP_CONFIG_FILE": os.devnull, "PYTHONNOUSERSITE": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace").strip()[-1000:]
        raise BundleError(f"{' '.join(command[:3])} failed: {words}")


def make_launcher(home: Path, package: Path = Path(__file__).parents[1]) -> bool:
    """Write the launcher, one file that needs nothing but Python; return whether it is another now.

    Raises:
        BundleError: it cannot be written.
    """
    target = slots.launcher_of(home)
    main = (
        "import sys\nfrom pathlib import Path\nfrom edgecore.install.launcher import main\n"
        f"sys.exit(main(Path({str(home)!r}), sys.argv[1:]))\n"
    )
    try:
        home.mkdir(mode=_PROGRAM_MODE, parents=True, exist_ok=True)
        made = _zipped(package, LAUNCHER_MODULES, main, home)
        if target.exists() and target.read_bytes() == made.read_bytes():
            made.unlink()
            return False
        slots.sync(made)
        made.replace(target)
        slots.sync(home)
    except OSError as error:
        raise BundleError(f"{target}: cannot be written: {error}") from error
    return True


def _zipped(package: Path, names: Sequence[str], main: str, folder: Path) -> Path:
    """Make a program of modules of ours in ``folder``, always of the same bytes."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        source = Path(temporary) / "source"
        for name in names:
            place = source / "edgecore" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(_module(package, name))
        (source / "__main__.py").write_text(main)
        for path in source.rglob("*"):
            os.utime(path, (315_532_800, 315_532_800))  # 1980, the first year that zip knows
        handle, made = tempfile.mkstemp(prefix=".edgecore.", dir=folder)
        os.close(handle)
        result = Path(made)
        try:
            zipapp.create_archive(source, made, interpreter=f"{_python()} -I")
            result.chmod(_PROGRAM_MODE)
        except BaseException:
            result.unlink()
            raise
    return result


def _python() -> Path:
    """Return the Python that the slots stand on, whatever ``python3`` is for whoever calls."""
    return Path(sys.base_prefix) / "bin" / "python3"


def _module(package: Path, name: str) -> bytes:
    """Return a module of ours, from a folder or out of the program that we are in."""
    place = package / name
    if place.exists():
        return place.read_bytes()
    import pkgutil  # noqa: PLC0415 - in an archive only

    data = pkgutil.get_data("edgecore", name)
    assert data is not None
    return data


def main(arguments: Sequence[str]) -> int:
    """``install.pyz [HOME]``: install the bundle beside which this program lies."""
    home = Path(arguments[0]) if arguments else slots.HOME
    bundle = Path(sys.argv[0]).resolve().parent
    try:
        for line in install(bundle, home):
            print(line)  # noqa: T201 - what it is for
    except (BundleError, SlotError) as error:
        print(f"install: {error}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    print(f"next: {slots.launcher_of(home)} join HOST --token-file FILE")  # noqa: T201 - as above
    return 0
