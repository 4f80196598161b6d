"""Read an edge-store from outside, beside a running edgecore or without one; never write to it.

Blocking. SQLite's readers do not wait for the writer, nor it for them. Without a log beside the
file nobody has it open, and it is read as it is: to open it any other way would make a log.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from msgspec import Struct

from common.errors import StoreError
from common.names import CLUSTER_SCOPE
from edgecore.edgestore.connecting import SQLITE_ERRORS, is_damage, store_error
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.rows import is_sound_object
from edgecore.edgestore.schema import SCHEMA_VERSION
from edgecore.edgestore.sealing import Sealer, is_sealed

_LISTED: Final = """
    SELECT type, namespace, name, uid, resource_version, length(value) FROM objects
    WHERE (:type IS NULL OR type = :type) AND (:namespace IS NULL OR namespace = :namespace)
    ORDER BY type, namespace, name
"""
_GET: Final = """
    SELECT key, type, namespace, name, uid, resource_version, checksum, value FROM objects
    WHERE type = :type AND namespace = coalesce(nullif(:namespace, ''), namespace) AND name = :name
    ORDER BY rowid DESC
"""
_ONE_SEALED: Final = """
    SELECT key, type, namespace, name, uid, resource_version, checksum, value FROM objects
    WHERE substr(value, 1, 1) = x'00' LIMIT 1
"""
_STATE: Final = "SELECT value FROM state WHERE key = ?"

T = TypeVar("T")


class Held(Struct, frozen=True):
    """One line of a listing."""

    kind: str
    namespace: str
    """"" where it has none."""
    name: str
    uid: str
    version: int
    """Resource version."""
    size_bytes: int
    """Of its value, as it is kept."""


class Opened(Struct, frozen=True):
    """What was found under a name."""

    held: Held
    value: bytes | None
    """JSON; None where it is sealed and cannot be opened."""


def read_store(path: Path, read: Callable[["StoreReader"], T]) -> T:
    """Return what ``read`` makes of the edge-store at ``path``, of one moment of it.

    Raises:
        StoreError: there is none, or it cannot be read; the text says what to do.
    """
    try:
        while True:
            was_at_rest = _is_at_rest(path)
            try:
                with _connected(path, is_at_rest=was_at_rest) as connection:
                    found = read(StoreReader(connection, path))
            except (*SQLITE_ERRORS, StoreError):
                # Half of it may be older than the other half, if somebody wrote to it meanwhile.
                if was_at_rest and not _is_at_rest(path):
                    continue
                raise
            if was_at_rest and not _is_at_rest(path):
                continue
            return found
    except SQLITE_ERRORS as error:
        if is_damage(error):
            raise StoreError(
                f"{path}: damaged: {error}: edgecore sets it aside when it starts"
            ) from error
        raise store_error(path, error) from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


class StoreReader:
    """What can be asked; good for as long as ``read_store`` runs."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Read by ``connection``."""
        self._connection, self._path = connection, path

    def listing(self, kind: str | None = None, namespace: str | None = None) -> list[Held]:
        """Return what is held, of one kind and in one namespace where they are given."""
        rows = self._rows(_LISTED, {"type": kind, "namespace": namespace})
        return [_held(*row) for row in rows]

    def get(self, kind: str, namespace: str, name: str, keys: KeyFile) -> Opened | None:
        """Return what has that name; None for nothing.

        Of the tokens of one service account, the last one that was new.

        Args:
            kind: as in ``ResourceType``.
            namespace: "" for what has none.
            name: of the object.
            keys: the key of what is sealed.

        Raises:
            StoreError: its value is damaged.
        """
        rows = self._rows(_GET, {"type": kind, "namespace": namespace, "name": name})
        if not rows:
            return None
        row = rows[0]
        if not is_sound_object(row):
            raise StoreError(
                f"{self._path}: the value of {row[0]} is damaged: restart edgecore, which forgets"
                " it and asks the cloud for it"
            )
        _, _, _, _, uid, version, _, value = row
        opened = Sealer(keys).opened(row)
        held = _held(kind, namespace, name, uid, version, len(value))
        return Opened(held, None if opened is None else opened[-1])

    def state(self, key: str) -> str | None:
        """Return what is kept under ``key`` besides objects."""
        rows = self._rows(_STATE, (key,))
        return str(rows[0][0]) if rows else None

    def check(self) -> str:
        """Return the first fault in the structure of the file; "" for none."""
        (verdict,) = self._rows("PRAGMA quick_check(1)")[0]
        return "" if verdict == "ok" else str(verdict)

    def is_opened_by(self, keys: KeyFile) -> bool | None:
        """Whether the key opens what is sealed; None where nothing is."""
        rows = self._rows(_ONE_SEALED)
        if not rows or not is_sealed(rows[0][-1]):
            return None
        return Sealer(keys).opened(rows[0]) is not None

    def _rows(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        with closing(self._connection.execute(sql, values)) as found:
            return found.fetchall()


def _held(kind: str, namespace: str, name: str, uid: str, version: int, size_bytes: int) -> Held:
    scope = "" if namespace == CLUSTER_SCOPE else namespace
    return Held(kind, scope, name, uid, version, size_bytes)


def _is_at_rest(path: Path) -> bool:
    """Whether nobody has the file open, and all that is known is in it."""
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    return not index.exists() and not (log.exists() and log.stat().st_size)


@contextmanager
def _connected(path: Path, *, is_at_rest: bool) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise StoreError(f"{path}: there is no edge-store: has edgecore run with this --data-dir?")
    with path.open("rb"):
        pass  # SQLite does not say why it cannot open a file
    uri = f"file:{quote(str(path))}?mode=ro{'&immutable=1' if is_at_rest else ''}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")  # all that follows is of one moment
        _require_schema(connection, path)
        yield connection


def _require_schema(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        advice = "use the edgecore that made it"
    elif version == 0:
        advice = "it is being made, or is none: start edgecore"
    else:
        advice = "start this edgecore once, which brings it up to date, or use the one that made it"
    raise StoreError(
        f"{path}: has schema {version}, this edgecore reads {SCHEMA_VERSION}: {advice}"
    )
