"""Logging of both daemons: constant texts with fields, to stderr, as plain lines or as JSON.

A call says ``logger.info("node connected", extra={"node": node})``. Content of objects, tokens and
keys are never logged; what comes from outside is cut by whoever logs it.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TextIO

from common.logfolding import Folding

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


_LEVELS: Final = ("debug", "info", "warning", "error")
_OURS: Final = frozenset({"cloudcore", "common", "edgecore", "edgesite"})

_VARYING: Final = frozenset({"connection", "msg_id", "retry_in_s"})
"""Fields that differ each time something is said again."""


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


def set_up(level: str, log_format: LogFormat) -> None:
    """Send the log of this process to stderr. Called once, by ``cli.py``."""
    handler = FoldingHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format is LogFormat.JSON else _TextFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    # These say at INFO what our own life-cycle lines say already, once per connection, and hpack at
    # DEBUG each header. Who wants that names them.
    for chatty in ("websockets", "aiohttp.access", "asyncio", "kubernetes", "hpack"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    set_level(level)


def levels_of(text: str) -> dict[str, str]:
    """Return the level of each logger that ``text`` names; that of all others is under ``""``.

    Args:
        text: a level, ``LOGGER=LEVEL``, or several of these with commas between.

    Raises:
        ValueError: it is something else.
    """
    found = {"": "info"}
    for part in text.split(","):
        name, _, level = part.strip().rpartition("=")
        if level not in _LEVELS:
            raise ValueError(
                f"expected {', '.join(_LEVELS)}, or LOGGER=LEVEL, with commas between, not {part!r}"
            )
        found[name] = level
    return found


def set_level(text: str) -> None:
    """Log what is at least so important from now on; ``text`` as in ``levels_of``."""
    levels = levels_of(text)
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _OURS:  # it may have been named before, and is not now
            logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level.upper())


class FoldingHandler(logging.StreamHandler[TextIO]):
    """Writes a warning that is said again and again once, and how often it was said each minute.

    What is said at INFO is folded beyond a thousand lines a minute of one text, and what is said at
    DEBUG never: whoever asks for that wants to see each.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to ``stream``."""
        super().__init__(stream)
        self._clock = clock
        self._folding: Folding[logging.LogRecord] = Folding()

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``, or count it; called with the handler's lock."""
        now_s = self._clock()
        self._tell(self._folding.over(now_s))
        if record.levelno <= logging.DEBUG or self._is_new(record, now_s):
            super().emit(record)

    def close(self) -> None:
        """Write what was counted and not told."""
        with self.lock:  # type: ignore[union-attr] # a handler has one until it is closed
            self._tell(self._folding.end())
        super().close()

    def _is_new(self, record: logging.LogRecord, now_s: float) -> bool:
        text = (record.name, record.levelno, record.msg)
        if record.levelno < logging.WARNING:  # a turn in a life, which may come twice in a minute
            return self._folding.admit(text, None, record, now_s)
        fields = {name: value for name, value in _fields(record).items() if name not in _VARYING}
        about = (record.getMessage(), repr(fields), bool(record.exc_info))
        return self._folding.admit(text, about, record, now_s)

    def _tell(self, repeated: list[tuple[logging.LogRecord, int]]) -> None:
        for record, times in repeated:
            again = logging.makeLogRecord(vars(record) | {"created": time.time(), "exc_info": None})
            again.repeated = times
            super().emit(again)


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
