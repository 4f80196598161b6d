"""Where the join token comes from, at the start: so that it does not lie about afterwards.

Whoever may list processes sees arguments; what a process starts, pods' commands among it, inherits
its environment. A file or standard input have neither.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from common.errors import ConfigError
from edgecore.config import ENV_PREFIX, EdgeSettings

STANDARD_INPUT: Final = Path("-")
"""As ``--token-file``: the token is read from standard input, once, at the start."""

CREDENTIAL: Final = "token"
"""Name of the credential that systemd may give the service."""

_VARIABLE: Final = f"{ENV_PREFIX}TOKEN"
_MAX_TOKEN_BYTES: Final = 16 * 1024
_BETTER: Final = "better give --token-file, with a file or - for standard input"

SettingsT = TypeVar("SettingsT", bound=EdgeSettings)


def credential_token(settings: SettingsT, environ: Mapping[str, str]) -> SettingsT:
    """Return ``settings`` with systemd's credential ``token``, where no other token is given.

    Source: https://systemd.io/CREDENTIALS/
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder or settings.token or settings.token_file is not None:
        return settings
    path = Path(folder) / CREDENTIAL
    return replace(settings, token_file=path) if path.exists() else settings


def take_token(settings: SettingsT, stream: BinaryIO) -> SettingsT:
    """Return ``settings`` with the token in them, where that is on standard input.

    Args:
        settings: as they were loaded.
        stream: standard input; read to its end, if it is to be read.

    Raises:
        ConfigError: it is too long for a token.
    """
    if settings.token_file != STANDARD_INPUT:
        return settings
    read = stream.read(_MAX_TOKEN_BYTES + 1)
    if len(read) > _MAX_TOKEN_BYTES:
        raise ConfigError([f"--token-file -: longer than {_MAX_TOKEN_BYTES} bytes: no token"])
    token = read.decode("ascii", "replace").strip()
    return replace(settings, token=token, token_file=None)


def clear_traces(environ: MutableMapping[str, str], arguments: Sequence[str]) -> list[str]:
    """Remove the token from the environment; return what is to be said of where it was seen.

    Args:
        environ: of this process, which what it starts inherits.
        arguments: of this process, for as long as it reads them.
    """
    notes = []
    if environ.pop(_VARIABLE, ""):
        notes.append(f"the token was in the environment ({_VARIABLE}): {_BETTER}")
    if any(one == "--token" or one.startswith("--token=") for one in arguments):
        notes.append(f"the token was in the list of processes (--token): {_BETTER}")
    return notes
