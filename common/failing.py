"""End a program that cannot do what it was called for, and tell why."""

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from common.errors import ConfigError

EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 2

_STOPPED: Final = "stopped at once, as asked for by a second signal"


def fail(name: str, faults: Sequence[BaseException]) -> NoReturn:
    """End the process and tell why: 2 if the configuration is at fault, else 1."""
    for fault in faults:
        for line in str(fault).splitlines() or [_STOPPED]:
            print(f"{name}: {line}", file=sys.stderr)  # noqa: T201 - the command line's own words
    is_config = any(isinstance(fault, ConfigError) for fault in faults)
    sys.exit(EXIT_CONFIG if is_config else EXIT_FAILURE)
