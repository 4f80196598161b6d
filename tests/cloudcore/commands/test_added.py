"""Commands that others add. Entry points are made up; the group of commands is a real one."""

from importlib.metadata import EntryPoint

import pytest
import typer
from typer.testing import CliRunner

from cloudcore.commands import added
from cloudcore.commands.added import GROUP, WithAdded
from common.errors import ConfigError


def greet() -> object:
    """Return a command; what its entry point names."""

    def command(name: str = "nobody") -> None:
        """Say hello."""
        typer.echo(f"hello {name}")

    return command


def refuse() -> None:
    raise AssertionError("not to be called")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    points = (
        EntryPoint("greet", f"{__name__}:greet", GROUP),
        EntryPoint("own", f"{__name__}:refuse", GROUP),
        EntryPoint("lacking", "no_such_package.command:command", GROUP),
    )

    def entry_points(*, group: str) -> tuple[EntryPoint, ...]:
        assert group == GROUP
        return points

    monkeypatch.setattr(added, "entry_points", entry_points)
    made = typer.Typer(cls=WithAdded, no_args_is_help=True)

    @made.command()
    def own() -> None:
        typer.echo("my own")

    @made.command()
    def other() -> None:
        typer.echo("another of mine")

    return made


def test_an_added_command_runs_with_its_options(commands: typer.Typer) -> None:
    done = CliRunner().invoke(commands, ["greet", "--name", "you"])
    assert (done.exit_code, done.output) == (0, "hello you\n")


def test_its_help_is_its_own(commands: typer.Typer) -> None:
    done = CliRunner().invoke(commands, ["greet", "--help"])
    assert done.exit_code == 0
    assert "Say hello." in done.output


def test_nothing_added_takes_the_place_of_what_is_there(commands: typer.Typer) -> None:
    assert CliRunner().invoke(commands, ["own"]).output == "my own\n"


def test_an_unknown_command_is_a_usage_error(commands: typer.Typer) -> None:
    assert CliRunner().invoke(commands, ["gret"]).exit_code == 2


def test_a_command_that_lacks_a_package_says_which_and_what_to_do(commands: typer.Typer) -> None:
    done = CliRunner().invoke(commands, ["lacking"])
    assert isinstance(done.exception, ConfigError)
    assert "no_such_package: install cloudedge[cloud,edge]" in str(done.exception)


def test_the_list_of_commands_has_them_all_also_those_that_lack_something(
    commands: typer.Typer,
) -> None:
    done = CliRunner().invoke(commands, ["--help"])
    assert done.exit_code == 0
    for name in ("own", "other", "greet", "lacking"):
        assert name in done.output
