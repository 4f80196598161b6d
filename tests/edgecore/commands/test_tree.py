"""The commands of edgecore: all of them can be asked for help. All is real."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from edgecore.commands.tree import commands

NAMES = sorted(get_command(commands()).commands)  # type: ignore[attr-defined] # it is a group


@pytest.mark.parametrize("name", NAMES)
def test_a_command_says_what_it_is_for(name: str) -> None:
    result = CliRunner().invoke(commands(), [name, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_running_is_among_them() -> None:
    assert {"run", "hollow", "import"} <= set(NAMES)
