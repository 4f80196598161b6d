"""The command lines that a configuration makes. Real files, real commands, run in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.commandline import (
    add_version,
    as_command,
    as_rereading_command,
    as_sources_command,
    shown,
)
from common.config import Sources, load
from common.settings import (
    DaemonSettings,
    Port,
    Settings,
    configuration,
    flag_name,
    option,
)


@configuration
class Sample(Settings):
    """What the tests configure."""

    node_name: str = option(help="Name of the node.")
    port: Port = option(default=10000, help="Port of the hub.")
    quiet: bool = option(default=False, help="Say less.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sample.yaml"
    path.write_text("node-name: from-file\nport: 1\n")
    return path


def test_the_command_line_has_a_flag_for_each_option(file: Path) -> None:
    app = typer.Typer()
    seen: list[Sample] = []

    def run(settings: Sample) -> None:
        """Run the sample."""
        seen.append(settings)

    app.command()(as_command(Sample, run, env_prefix="SAMPLE_"))
    runner = CliRunner()
    result = runner.invoke(
        app, ["--config", str(file), "--quiet"], env={"SAMPLE_PORT": "7"}, catch_exceptions=False
    )
    assert result.exit_code == 0
    assert seen == [Sample(node_name="from-file", port=7, quiet=True)]

    shown = runner.invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    for name, field in Sample.options().items():
        assert flag_name(name) in shown
        assert field.help in shown
    assert "SAMPLE_PORT" in shown
    assert "10000" in shown


def test_a_command_can_read_its_configuration_again_and_flags_still_win(file: Path) -> None:
    app = typer.Typer()
    seen: list[Sample] = []

    def run(read: Callable[[], Sample]) -> None:
        seen.append(read())
        file.write_text("node-name: from-new-file\nport: 2\n")
        seen.append(read())

    app.command()(as_rereading_command(Sample, run, env_prefix="SAMPLE_"))
    arguments = ["--config", str(file), "--quiet"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert seen == [
        Sample(node_name="from-file", port=1, quiet=True),
        Sample(node_name="from-new-file", port=2, quiet=True),
    ]


def test_the_help_shows_the_words_of_a_set_in_order() -> None:
    app = typer.Typer()
    app.command()(as_command(DaemonSettings, lambda _: None, env_prefix="X_"))
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "400", "NO_COLOR": "1"}).output
    assert "(default: acks,beats,chunks,deflate,digest)" in shown


def test_a_command_may_look_at_the_sources_itself(file: Path) -> None:
    app = typer.Typer()
    seen: list[Sources] = []

    def run(sources: Callable[[], Sources]) -> None:
        seen.append(sources())

    app.command()(as_sources_command(Sample, run, env_prefix="SAMPLE_"))
    CliRunner().invoke(app, ["--config", str(file), "--port", "5"], catch_exceptions=False)
    assert load(Sample, seen[0]).origins["port"] == "--port"
    assert seen[0].file == file


def test_the_version_is_told() -> None:
    app = typer.Typer()
    add_version(app, "sample")
    app.command("run")(lambda: None)
    result = CliRunner().invoke(app, ["--version"], catch_exceptions=False)
    assert result.output.startswith("sample ")
    assert result.exit_code == 0


def test_a_value_is_shown_as_it_is_written() -> None:
    assert shown(("a", "b")) == "a,b"
    assert shown(frozenset({"b", "a"})) == "a,b"
    assert shown(5) == "5"
