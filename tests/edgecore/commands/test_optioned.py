"""Commands with the options of run and their own: typer is real, what they do is faked."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from common.config import Sources
from edgecore.commands import optioned
from edgecore.commands.optioned import own_option, with_options


def test_a_command_gets_its_own_options_and_the_sources_of_the_others(tmp_path: Path) -> None:
    calls: list[tuple[Sources, Path, bool]] = []

    def run(sources: Sources, *, file: Path, loud: bool) -> None:
        """Do something."""
        calls.append((sources, file, loud))

    own = [
        own_option("file", Annotated[Path, typer.Argument()]),
        own_option("loud", Annotated[bool, typer.Option("--loud")], default=False),
    ]
    commands = typer.Typer()
    commands.command()(with_options(run, own))
    config = tmp_path / "edgecore.yaml"
    result = CliRunner().invoke(commands, ["x", "--loud", f"--config={config}", "--cloud=c"])
    assert result.exit_code == 0, result.output
    ((sources, file, loud),) = calls
    assert (file, loud, sources.file) == (Path("x"), True, config)
    assert sources.flags["cloud"] == "c"
    assert "Do something." in CliRunner().invoke(commands, ["--help"]).output


def test_where_no_file_is_named_the_usual_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "usual.yaml"
    monkeypatch.setattr(optioned, "default_config", lambda: usual)
    found: list[Path | None] = []
    commands = typer.Typer()
    commands.command()(with_options(lambda sources: found.append(sources.file), []))
    assert CliRunner().invoke(commands, []).exit_code == 0
    assert found == [usual]
