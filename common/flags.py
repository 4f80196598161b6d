"""Read a command line that has nothing but options and their values, without typer.

A daemon is started by such a line, and typer takes longer to read it than the daemon to begin. Any
other line, ``--help`` and mistakes among them, is left to typer, which has the words for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from common.config import Sources
from common.settings import Option, Settings, flag_name

_CONFIG: Final = "config"
"""Not an option of a configuration, but where it has its file."""


def plain_sources(
    model: type[Settings],
    arguments: Sequence[str],
    env_prefix: str,
    environ: Mapping[str, str],
) -> Sources | None:
    """Return where ``model`` is told; None where typer should read the arguments.

    Args:
        model: the configuration.
        arguments: without the program's name and the command's.
        env_prefix: see ``Sources``.
        environ: see ``Sources``.
    """
    flags = _plain(model.options(), arguments)
    if flags is None:
        return None
    file = flags.pop(_CONFIG, None)
    return Sources(env_prefix, None if file is None else Path(str(file)), environ, flags)


def _plain(options: Mapping[str, Option], arguments: Sequence[str]) -> dict[str, object] | None:
    switches = {flag: value for name, one in options.items() for flag, value in _switch(name, one)}
    names = {flag_name(name): name for name, one in options.items() if one.type is not bool}
    names[flag_name(_CONFIG)] = _CONFIG
    told: dict[str, object] = {}
    left = list(reversed(arguments))
    while left:
        flag, has_value, value = left.pop().partition("=")
        if flag in switches and not has_value:
            name, is_on = switches[flag]
            told[name] = is_on
        elif flag in names and (has_value or left):
            told[names[flag]] = value if has_value else left.pop()
        else:
            return None
    return told


def _switch(name: str, one: Option) -> Iterator[tuple[str, tuple[str, bool]]]:
    if one.type is bool:
        yield flag_name(name), (name, True)
        yield flag_name(f"no_{name}"), (name, False)
