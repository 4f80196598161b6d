"""One model is filled from a file, the environment and flags. Real files, a real command."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from common.config import (
    MAX_FILE_BYTES,
    DaemonSettings,
    Settings,
    as_command,
    as_rereading_command,
    flag_name,
    load,
)
from common.errors import ConfigError


class Sample(Settings):
    """What the tests configure."""

    node_name: str = Field(description="Name of the node.")
    port: int = Field(10000, ge=1, le=65535, description="Port of the hub.")
    quiet: bool = Field(default=False, description="Say less.")


def loaded(
    file: Path | None = None,
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> Sample:
    return load(Sample, env_prefix="SAMPLE_", file=file, environ=environ or {}, flags=flags or {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sample.yaml"
    path.write_text("node-name: from-file\nport: 1\n")
    return path


def faults(file: Path | None = None, **sources: dict[str, object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(file, sources.get("environ"), sources.get("flags"))  # type: ignore[arg-type]
    return caught.value.faults


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(file: Path) -> None:
    environ = {"SAMPLE_PORT": "2", "OTHER_PORT": "9"}
    assert loaded(file).port == 1
    assert loaded(file, environ).port == 2
    assert loaded(file, environ, {"port": "3", "node_name": None}).port == 3
    assert loaded(file, environ, {"port": "3"}).node_name == "from-file"


def test_an_unknown_key_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text("node_name: n1\nprot: 5\n")
    assert faults(path) == [f"{path}: prot: unknown option; did you mean port?"]
    assert faults(environ={"SAMPLE_NODE_NAM": "x", "SAMPLE_NODE_NAME": "n"}) == [
        "environment: SAMPLE_NODE_NAM: unknown option; did you mean node-name?"
    ]


def test_all_faults_are_told_at_once_with_where_they_stand(file: Path) -> None:
    told = faults(file, environ={"SAMPLE_PORT": "70000"}, flags={"quiet": "perhaps"})
    assert len(told) == 2
    assert told[0].startswith("environment: SAMPLE_PORT: ")
    assert told[1].startswith("--quiet: ")


def test_a_missing_option_is_told_with_what_it_is_for() -> None:
    assert faults() == ["--node-name: must be given: Name of the node."]


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("- a", "mapping"),
        ("a: [", "not YAML"),
        ("a: " + "[" * 5000, "not YAML: nested too deep"),
        ("a: 2026-99-99", "not YAML"),
        ("a: !!timestamp b", "not YAML"),
        ("a: !!int ''", "not YAML"),
        ("a: !!bool b", "not YAML"),
        ("x" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_configuration_is_told(tmp_path: Path, text: str, tells: str) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text(text)
    assert tells in faults(path)[0]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in faults(tmp_path / "none.yaml")[0]


def test_an_empty_file_is_an_empty_configuration(tmp_path: Path) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text("")
    assert loaded(path, flags={"node_name": "n1"}).port == 10000


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
    for name, field in Sample.model_fields.items():
        assert flag_name(name) in shown
        assert str(field.description) in shown
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
