"""Edge-stores as older versions of edgecore have left them."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from edgecore.edgestore.connecting import connect
from edgecore.edgestore.records import StoredObject
from edgecore.edgestore.rows import object_row
from edgecore.edgestore.schema import MIGRATIONS, migrate

_PUT = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def open_clear(path: Path) -> sqlite3.Connection:
    """Make a store of schema 2, which knew no sealed values."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    connection = connect(path)
    migrate(connection, path, {1: MIGRATIONS[1]})
    return connection


def put_clear(connection: sqlite3.Connection, objects: Iterable[StoredObject]) -> None:
    for one in objects:
        connection.execute(_PUT, object_row(one, one.value))
