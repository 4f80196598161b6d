"""What each daemon needs beside what both of them do, and whether it is installed."""

from importlib.util import find_spec
from typing import Final

from common.errors import ConfigError

_MODULES: Final = {
    "cloud": ("aiohttp", "kubernetes", "jwt"),
    "edge": ("grpclib", "h11", "google.protobuf"),
}
"""The optional dependencies of ``pyproject.toml``, by the modules that are imported."""


def check_extra(extra: str) -> None:
    """Judge whether ``extra`` is installed; imports nothing of it.

    Raises:
        ConfigError: it is not; the text says what to install.
    """
    missing = [module for module in _MODULES[extra] if not _is_there(module)]
    if missing:
        raise ConfigError([f"{', '.join(missing)}: not installed: install cloudedge[{extra}]"])


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # not even the package that it is in
        return False
