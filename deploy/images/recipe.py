"""What is in the images, and what they are run with. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

USER: Final = 65532
"""Whom cloudcore runs as; in Debian's range for no one in particular."""

MB: Final = 1_000_000

_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image of one daemon."""

    name: str
    """Of the daemon, and of its command."""

    about: str
    user: str
    """``UID:GID``; empty for root."""

    most_mb: int
    """Megabytes that its files may have, unpacked."""

    without: tuple[str, ...]
    """Our packages that the daemon does not need."""

    @property
    def requirements(self) -> str:
        """The file that pins its packages, in the folder of requirements."""
        return f"{self.name.removesuffix('core')}.txt"

    def name_of(self, version: str) -> str:
        """Return the name that it goes by until whoever keeps it gives it another."""
        return f"cloudedge/{self.name}:{version}"

    def config(self, version: str, revision: str) -> dict[str, Any]:
        """Return what it is run with, as an OCI image says it.

        What a daemon keeps lies in a volume: its root can be read-only.

        Args:
            version: of the program.
            revision: of its sources; empty where nobody knows.

        Source: https://github.com/opencontainers/image-spec/blob/main/annotations.md
        """
        labels = {
            "title": self.name,
            "description": self.about,
            "version": version,
            "revision": revision,
        }
        return {
            "User": self.user,
            "Env": [f"PATH={_SEARCH_PATH}"],
            "Entrypoint": [self.name],
            "Cmd": ["run"],
            "Volumes": {f"/var/lib/cloudedge/{self.name}": {}},
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "Labels": {
                f"org.opencontainers.image.{key}": value for key, value in labels.items() if value
            },
        }


RECIPES: Final = (
    Recipe(
        "cloudcore",
        "Joins edge machines to a Kubernetes cluster.",
        f"{USER}:{USER}",
        most_mb=120,
        without=("edgecore", "edgesite"),
    ),
    # It mounts, and makes cgroups and network namespaces for pods: as root.
    Recipe(
        "edgecore",
        "Runs the pods of an edge machine.",
        "",
        most_mb=90,
        without=("cloudcore", "edgesite"),
    ),
)

# Of what Debian's Python depends on, what a program needs that reads no terminal and no mail.
_KEPT: Final = re.compile(
    r"libbz2-1\.0|libc6|libcrypt1|libexpat1t?(64)?|libffi\d+|libgcc-s1|liblzma5"
    r"|libpython3\.\d+-(minimal|stdlib)|libsqlite3-0|libssl3(t64)?|libuuid1|python3\.\d+-minimal"
    r"|zlib1g"
)

_LIBRARIES: Final = r"(usr/)?lib/[^/]+-linux-[^/]+"
# Folders and files of these packages that nothing here asks for.
_LEFT_OUT: Final = re.compile(
    rf"{_LIBRARIES}/(gconv|engines-3|ossl-modules|audit)(/.*)?"
    r"|usr/share/(doc|man|lintian|binfmts|applications|pixmaps|bash-completion)(/.*)?"
    r"|etc/(init\.d|cron\..*|ld\.so\.conf\.d/fakeroot.*)(/.*)?"
    r"|usr/lib/python3\.\d+/(ensurepip|idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo|venv"
    r"|distutils|config-.*)(/.*)?"
    r"|usr/lib/python3\.\d+/lib-dynload/(_curses|_curses_panel|_dbm|_gdbm|nis|readline|_test.*"
    r"|_tkinter|_ctypes_test|xx.*)\..*"
    r"|.*\.(pyx|pxd|pyi|c|h|a)"
)


def is_kept(package: str) -> bool:
    """Whether an image has Debian's ``package``."""
    return _KEPT.fullmatch(package) is not None


def is_left_out(path: str) -> bool:
    """Whether an image does without ``path``, which is relative to its root."""
    return _LEFT_OUT.fullmatch(path) is not None


def closure(listed: str) -> list[str]:
    """Return the packages that ``apt-cache depends --recurse`` lists and an image has."""
    names = {line for line in listed.splitlines() if line and not line[0].isspace()}
    return sorted(filter(is_kept, names))


def python_of(packages: Iterable[str]) -> str:
    """Return the name of the Python among ``packages``, ``python3.11``.

    Raises:
        ValueError: there is none.
    """
    for name in packages:
        if found := re.fullmatch(r"(python3\.\d+)-minimal", name):
            return found[1]
    raise ValueError("Debian's packages know no Python 3")
