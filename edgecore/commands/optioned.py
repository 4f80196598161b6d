"""Commands with the options of ``edgecore run`` and a few of their own."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from common.commandline import as_sources_command
from common.config import Sources
from edgecore.commands.place import default_config
from edgecore.config import ENV_PREFIX, EdgeCoreSettings


def with_options(run: Callable[..., None], own: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """Return ``run`` as a typer command that has the options of ``edgecore run`` beside ``own``.

    Args:
        run: called with ``Sources``, of which the file is the one that ``edgecore join`` writes
            where no other is named, and with its own parameters by name.
        own: they are not among the options of run.
    """
    told = inspect.signature(as_sources_command(EdgeCoreSettings, _unused, env_prefix=ENV_PREFIX))
    parameters = [*own, *told.parameters.values()]
    names = {one.name for one in own}

    def command(**given: Any) -> None:
        mine = {name: given.pop(name) for name in names}

        def begin(sources: Callable[[], Sources]) -> None:
            found = sources()
            run(found if found.file else replace(found, file=default_config()), **mine)

        as_sources_command(EdgeCoreSettings, begin, env_prefix=ENV_PREFIX)(**given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what typer reads
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__doc__ = run.__doc__
    return command


def own_option(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> Any:
    """Return a parameter for ``with_options``; one without a default must be given."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _unused(_: Callable[[], Sources]) -> None:
    """Stand in for a command of which the options are wanted."""
