"""Log lines have fields, and text from outside stays on its line. Real logging to stderr."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from common.logs import FoldingHandler, LogFormat, levels_of, set_level, set_up


@pytest.fixture(autouse=True)
def _root_logger_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_of_text_carries_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", LogFormat.TEXT)
    logging.getLogger("cloudcore.hub").info("node connected", extra={"node": "n1", "why": "a b"})
    line = capsys.readouterr().err
    assert line.endswith('INFO    cloudcore.hub node connected node=n1 why="a b"\n')


def test_text_from_outside_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info", LogFormat.TEXT)
    logging.getLogger("x").info("refused", extra={"node": "n1\n2026 INFO forged"})
    assert capsys.readouterr().err.count("\n") == 1


def test_a_json_line_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("debug", LogFormat.JSON)
    try:
        int("gone")
    except ValueError:
        logging.getLogger("x").exception("it failed", extra={"attempt": 3})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["logger"], entry["msg"]) == ("ERROR", "x", "it failed")
    assert entry["attempt"] == 3
    assert "ValueError: invalid literal" in entry["exception"]


def test_below_the_level_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("warning", LogFormat.TEXT)
    logging.getLogger("x").info("quiet")
    assert capsys.readouterr().err == ""


def test_what_is_said_again_and_again_is_written_once_and_then_counted() -> None:
    now_s, stream = 0.0, io.StringIO()
    handler = FoldingHandler(stream, lambda: now_s)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(node)s %(repeated)s"))

    def say(level: int, text: str, node: str, msg_id: str) -> None:
        fields = {"node": node, "msg_id": msg_id, "repeated": 0, "msg": text, "levelno": level}
        fields["levelname"] = logging.getLevelName(level)
        handler.handle(logging.makeLogRecord(fields))

    for number in range(313):
        say(logging.WARNING, "refused", "n1", f"m{number}")
    say(logging.WARNING, "refused", "n2", "")
    assert stream.getvalue() == "WARNING refused n1 0\nWARNING refused n2 0\n"
    now_s = 61.0
    say(logging.INFO, "another", "n1", "")
    assert stream.getvalue().splitlines()[2:] == ["WARNING refused n1 312", "INFO another n1 0"]
    for _ in range(2):
        say(logging.DEBUG, "detail", "n1", "")
    assert stream.getvalue().splitlines()[4:] == ["DEBUG detail n1 0"] * 2
    for _ in range(2):
        say(logging.INFO, "node connected", "n1", "")
    assert stream.getvalue().splitlines()[6:] == ["INFO node connected n1 0"] * 2
    for _ in range(2):
        say(logging.ERROR, "failed", "n1", "")
    handler.close()
    assert stream.getvalue().splitlines()[8:] == ["ERROR failed n1 0", "ERROR failed n1 1"]


def test_one_logger_can_have_a_level_of_its_own_for_a_while(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up("warning,edgecore.x=debug", LogFormat.TEXT)
    for name in ("edgecore.x.y", "edgecore.z"):
        logging.getLogger(name).debug("said by %s", name)
    said = capsys.readouterr().err
    assert "edgecore.x.y" in said
    assert "edgecore.z" not in said
    set_level("edgecore.z=error")
    logging.getLogger("edgecore.x.y").debug("said again")
    logging.getLogger("edgecore.x.y").info("the others are at info")
    logging.getLogger("edgecore.z").warning("not said")
    said = capsys.readouterr().err
    assert "the others are at info" in said
    assert "again" not in said
    assert "not said" not in said
    set_level("info")


@pytest.mark.parametrize("text", ["loud", "", "info,", "x=loud", "INFO"])
def test_what_is_no_level_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError, match="expected debug, info, warning, error, or LOGGER=LEVEL"):
        levels_of(text)


def test_the_level_can_be_another_while_the_daemon_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up("info", LogFormat.TEXT)
    logging.getLogger("x").debug("hidden")
    set_level("debug")
    logging.getLogger("x").debug("shown")
    assert "shown" in capsys.readouterr().err
