"""What a daemon is told, shown and judged. Real files and commands, run in this process."""

import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from common.configcommands import HIDDEN, config_commands
from common.errors import ConfigError
from common.settings import FromText, Port, Settings, configuration, option, with_commas


@configuration
class Sample(Settings):
    """What the tests configure."""

    name: str = option(help="A name.")
    port: Port = option(default=1, help="A port.")
    folder: Path | None = option(default=None, help="A folder.")
    words: Annotated[tuple[str, ...], FromText(with_commas)] = option(default=(), help="Words.")
    labels: dict[str, str] = option(default_factory=dict, help="Labels.")
    token: str = option(default="", is_secret=True, help="A secret.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sample.yaml"
    path.write_text("name: n\nlabels: {a: b}\nfolder: /f\n")
    return path


def run(*arguments: str, **environ: str) -> Result:
    commands = config_commands(Sample, env_prefix="SAMPLE_")
    return CliRunner().invoke(commands, arguments, env=environ, catch_exceptions=False)


def shown(output: str, file: Path) -> object:
    arguments = ("show", "--config", str(file), "--words", "x,y", "--output", output)
    return run(*arguments, SAMPLE_TOKEN="hunter2", SAMPLE_PORT="5").stdout


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_each_option_is_shown_with_where_it_was_told(output: str, read: object, file: Path) -> None:
    assert callable(read)
    assert read(shown(output, file)) == {
        "name": {"value": "n", "from": f"{file}: name"},
        "port": {"value": 5, "from": "environment: SAMPLE_PORT"},
        "folder": {"value": "/f", "from": f"{file}: folder"},
        "words": {"value": ["x", "y"], "from": "--words"},
        "labels": {"value": {"a": "b"}, "from": f"{file}: labels"},
        "token": {"value": HIDDEN, "from": "environment: SAMPLE_TOKEN"},
    }


def test_people_see_a_table(file: Path) -> None:
    lines = str(shown("table", file)).splitlines()
    assert lines[0].split() == ["OPTION", "VALUE", "FROM"]
    assert ["labels", "a=b", f"{file}:", "labels"] in [line.split() for line in lines]
    assert ["words", "x,y", "--words"] in [line.split() for line in lines]


def test_a_secret_that_is_not_set_is_seen_not_to_be(file: Path) -> None:
    told = json.loads(run("show", "--config", str(file), "-o", "json").stdout)
    assert told["token"] == {"value": "", "from": "default"}


def test_a_file_is_judged_with_what_is_told_beside_it(file: Path) -> None:
    assert run("validate", str(file)).stdout == f"{file}: run takes it\n"
    file.write_text("port: 5\n")
    with pytest.raises(ConfigError, match="--name: must be given"):
        run("validate", str(file))
    assert run("validate", str(file), "--name", "n").exit_code == 0
    file.write_text("prot: 5\nname: n\n")
    with pytest.raises(ConfigError, match="did you mean port"):
        run("validate", str(file))


def test_what_has_no_effect_is_said_where_programs_do_not_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Sample.__init__

    def noting(self: Sample, **told: object) -> None:
        original(self, **(told | {"notes": ("quic has no effect",)}))  # type: ignore[arg-type]

    monkeypatch.setattr(Sample, "__init__", noting)
    result = run("validate", str(file))
    assert result.stderr == "quic has no effect\n"


def test_editors_get_a_schema() -> None:
    told = json.loads(run("schema").stdout)
    assert told["required"] == ["name"]
    assert told["properties"]["port"]["maximum"] == 65535


def test_the_commands_have_help() -> None:
    app = typer.Typer()
    app.add_typer(config_commands(Sample, env_prefix="SAMPLE_"), name="config")
    assert "validate" in CliRunner().invoke(app, ["config", "--help"]).output
