"""Logging of both daemons: constant texts with fields, to stderr, as plain lines or as JSON.

A call says ``logger.info("node connected", extra={"node": node})``. Content of objects, tokens and
keys are never logged; what comes from outside is cut by whoever logs it.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


def set_up(level: str, log_format: LogFormat) -> None:
    """Send the log of this process to stderr. Called once, by ``cli.py``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format is LogFormat.JSON else _TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These say at INFO what our own life-cycle lines say already, once per connection.
    for chatty in ("websockets", "aiohttp.access", "asyncio", "kubernetes"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _moment(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


class _TextFormatter(logging.Formatter):
    """``2026-11-23T09:31:04.123Z INFO  cloudcore.cloudhub.session node connected node=n1``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_quoted(value)}" for key, value in _fields(record).items())
        line = (
            f"{_moment(record)} {record.levelname:<7} {record.name} {record.getMessage()}{fields}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: ``ts``, ``level``, ``logger``, ``msg`` and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "ts": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _quoted(value: object) -> str:
    """Return ``value`` so that a field stays one word, and text from outside stays on its line."""
    text = str(value)
    return json.dumps(text) if not text.isprintable() or " " in text or '"' in text else text
