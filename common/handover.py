"""Hand a configuration over to the program that takes this process's place.

Judging a configuration takes libraries that a daemon needs once and that would stay in its memory.
So one program judges it, and another one, started in its place, in the same process, gets it as
JSON in memory that has no name: arguments and environment can be seen by others, and there may be a
token in it.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from common.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)

_MAX_BYTES: Final = 4 * 1024 * 1024


def hand_over(module: str, settings: Settings, *words: str) -> NoReturn:
    """Run ``module`` in this process's place; its first argument is where it finds ``settings``.

    The process keeps its number, its open standard streams, its folder and its environment. Nothing
    that this program wanted to do at its end is done any more.

    Args:
        module: run as by ``python -m``, by the same interpreter.
        settings: judged already.
        words: further arguments, for who reads lists of processes.
    """
    held = os.memfd_create("configuration", os.MFD_CLOEXEC)
    with os.fdopen(held, "wb", closefd=False) as stream:
        stream.write(encode(settings))
    os.lseek(held, 0, os.SEEK_SET)
    os.set_inheritable(held, True)  # noqa: FBT003 - the library's signature
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: what lies in the folder in which it was started is none of its modules.
    program = [sys.executable, "-P", "-m", module, str(held), *words]
    os.execv(sys.executable, program)  # noqa: S606 - that there is no shell is the point


def take_over(model: type[SettingsT], descriptor: str) -> SettingsT:
    """Return the settings that ``hand_over`` left, of which ``descriptor`` is the argument.

    Raises:
        ValueError: there are none.
        OSError: as ValueError.
    """
    with os.fdopen(int(descriptor), "rb") as stream:
        return decode(model, stream.read(_MAX_BYTES))


def be_called(name: str) -> None:
    """Have the lists of processes show this one as ``name``, and not as its interpreter."""
    with suppress(OSError):  # it is for people only
        Path("/proc/self/comm").write_text(name, encoding="ascii")


def encode(settings: Settings) -> bytes:
    """Return ``settings`` as JSON, its secrets too."""
    return msgspec.json.encode(settings, enc_hook=_plain)


def to_plain(value: object) -> object:
    """Return a value of ``settings`` as JSON has it."""
    return msgspec.to_builtins(value, order="deterministic", enc_hook=_plain)


def decode(model: type[SettingsT], data: bytes) -> SettingsT:
    """Return what ``encode`` was given.

    Raises:
        ValueError: it is not that.
    """
    return msgspec.json.decode(data, type=model, dec_hook=_rich)


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value)} cannot be handed over")


def _rich(kind: type[Any], value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(f"{kind} cannot be handed over")
