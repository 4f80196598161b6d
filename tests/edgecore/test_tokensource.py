"""Where the token comes from. Real settings; environment, arguments and input are the test's."""

import io
from pathlib import Path

import pytest

from common.errors import ConfigError
from edgecore.config import EdgeCoreSettings
from edgecore.tokensource import clear_traces, credential_token, take_token


def settings(token_file: Path | None) -> EdgeCoreSettings:
    return EdgeCoreSettings(cloud="c", node_name="n1", token_file=token_file)


def test_a_token_is_read_from_standard_input_once() -> None:
    stream = io.BytesIO(b" a.b.c.d\n")
    taken = take_token(settings(Path("-")), stream)
    assert taken.read_token() == taken.read_token() == "a.b.c.d"
    assert "a.b.c.d" not in repr(taken)


def test_standard_input_that_is_empty_is_no_token_and_what_is_too_long_a_fault() -> None:
    assert take_token(settings(Path("-")), io.BytesIO()).read_token() == ""
    with pytest.raises(ConfigError, match="no token"):
        take_token(settings(Path("-")), io.BytesIO(b"x" * 16385))


def test_standard_input_is_left_alone_unless_it_is_named(tmp_path: Path) -> None:
    file, stream = tmp_path / "token", io.BytesIO(b"not this")
    file.write_text("a.b.c.d")
    assert take_token(settings(file), stream).read_token() == "a.b.c.d"
    assert take_token(settings(None), stream).read_token() == ""
    assert stream.tell() == 0


def test_the_environment_is_cleared_and_what_can_be_seen_is_told() -> None:
    environ = {"EDGECORE_TOKEN": "hunter2", "PATH": "/bin"}
    notes = clear_traces(environ, ["run", "--token=hunter2"])
    assert environ == {"PATH": "/bin"}
    assert len(notes) == 2
    assert "hunter2" not in "".join(notes)
    assert all("--token-file" in note for note in notes)
    assert len(clear_traces(environ, ["run", "--token", "hunter2"])) == 1
    assert clear_traces(environ, ["run", "--token-file", "t"]) == []


def test_a_credential_of_systemd_is_the_token_where_no_other_is_given(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert credential_token(settings(None), environ).token_file is None
    (tmp_path / "token").write_text("a.b.c.d\n")
    assert credential_token(settings(None), environ).read_token() == "a.b.c.d"
    assert credential_token(settings(None), {}).token_file is None
    given = tmp_path / "given"
    assert credential_token(settings(given), environ).token_file == given
