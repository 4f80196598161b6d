"""Command lines of options and values, read as typer reads them. All is real, typer too."""

from collections.abc import Callable

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from common.commandline import as_sources_command
from common.config import Sources
from common.flags import plain_sources
from common.settings import Port, Settings, configuration, option


@configuration
class Sample(Settings):
    """What the tests configure."""

    name: str = option(default="", help="A name.")
    data_dir: str = option(default="", help="A folder.")
    port: Port = option(default=1, help="A port.")
    quiet: bool = option(default=False, help="Say less.")


def plainly(*arguments: str) -> dict[str, object] | None:
    return told_by(plain_sources(Sample, arguments, "SAMPLE_", {}))


def by_typer(*arguments: str) -> dict[str, object] | None:
    """Return what typer makes of it; None where it refuses it or prints something."""
    seen: list[Sources] = []

    def run(sources: Callable[[], Sources]) -> None:
        seen.append(sources())

    app = typer.Typer()
    app.command()(as_sources_command(Sample, run, env_prefix="SAMPLE_"))
    CliRunner().invoke(app, arguments)
    return told_by(seen[0] if seen else None)


def told_by(sources: Sources | None) -> dict[str, object] | None:
    if sources is None:
        return None
    file = {} if sources.file is None else {"config": str(sources.file)}
    return {name: value for name, value in sources.flags.items() if value is not None} | file


def test_options_have_their_value_beside_them_or_after_an_equals_sign() -> None:
    assert plainly() == {}
    assert plainly("--name", "n", "--data-dir=/a=b", "--port=", "--config", "f") == {
        "name": "n",
        "data_dir": "/a=b",
        "port": "",
        "config": "f",
    }
    assert plainly("--quiet", "--name=a", "--name=b") == {"quiet": True, "name": "b"}
    assert plainly("--no-quiet") == {"quiet": False}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--nam", "n"],
        ["--name"],
        ["name"],
        ["--quiet=yes"],
        ["-n", "x"],
        ["--"],
        ["--name=n", "--help"],
    ],
)
def test_what_is_not_as_plain_as_that_is_left_to_typer(arguments: list[str]) -> None:
    assert plainly(*arguments) is None


WORDS = st.sampled_from(
    ("--name", "--name=n", "--port=5", "--quiet", "--no-quiet", "--config=f", "--data-dir", "x")
) | st.sampled_from(("--help", "--wrong", "-x", "--", "--quiet=1", "--name=--port", "--port"))


@given(st.lists(WORDS, max_size=5))
def test_what_is_read_plainly_is_what_typer_reads(arguments: list[str]) -> None:
    read = plainly(*arguments)
    if read is not None:
        assert read == by_typer(*arguments)
