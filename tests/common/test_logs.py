"""Log lines have fields, and text from outside stays on its line. Real logging to stderr."""

import json
import logging
from collections.abc import Iterator

import pytest

from common.logs import LogFormat, set_up


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
