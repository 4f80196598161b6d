"""Build the wheel of both daemons: ``python -m deploy.wheel FOLDER``, or ``make wheel``."""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

PIP: Final = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")

_SOURCES: Final = ("common", "cloudcore", "edgecore", "edgesite", "README.md", "pyproject.toml")
_LIMIT_S: Final = 600.0


def project_version() -> str:
    """Return the version that the project has."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def build(folder: Path, *, version: str = "") -> Path:
    """Build the wheel of this checkout into ``folder``; return it. Nothing is fetched.

    It is built of a copy: setuptools leaves folders beside what it builds, and takes what it finds
    there for a part of the next wheel.

    Args:
        folder: gets the wheel; made if it is missing.
        version: what it calls itself; that of the project unless given.

    Raises:
        CalledProcessError: it cannot be built; pip's words were shown.
    """
    with tempfile.TemporaryDirectory(prefix="wheel-") as made_in:
        copy, built = Path(made_in, "checkout"), Path(made_in, "built")
        copy.mkdir()
        for name in _SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, copy / name)
        if version:
            project = copy / "pyproject.toml"
            named, wanted = (f'version = "{one}"' for one in (project_version(), version))
            project.write_text(project.read_text().replace(named, wanted, 1))
        options = ("--no-deps", "--no-index", "--no-build-isolation", f"--wheel-dir={built}")
        subprocess.run(  # noqa: S603 - our own words
            [*PIP, "wheel", *options, str(copy)],
            check=True,
            timeout=_LIMIT_S,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        (made,) = built.iterdir()
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(made, folder / made.name))


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))  # noqa: T201 - what it is for
