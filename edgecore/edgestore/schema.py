"""The tables of the edge-store: made, brought up to date, and recognized."""

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Final

from common.errors import StoreError
from edgecore.edgestore.connecting import DamagedError

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 3

CLEAR_STATE: Final = "clear"
"""Key of the state that says that there may be Secrets in the clear; absent where there are none"""

MIGRATIONS: Final[Mapping[int, str]] = {
    1: "ALTER TABLE tombstones ADD COLUMN checksum INTEGER",  # none: from before there were any
    # What is sealed from now on an older edgecore would take for JSON. See clear.py.
    2: f"INSERT INTO state SELECT '{CLEAR_STATE}', 'yes' WHERE EXISTS (SELECT 1 FROM objects)",  # noqa: S608 - made of constants
}
"""From the schema version that is the key to the next one: SQL, run in one transaction."""


def check_schema(connection: sqlite3.Connection) -> None:
    """Check that the tables are those of a new file: SQLite takes a damaged name for a name.

    Raises:
        DamagedError: they are not.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        migrate(new, Path(), MIGRATIONS)
        if _columns(new) != _columns(connection):
            raise DamagedError("the tables are not those of this schema")


def _columns(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        """
        SELECT m.name, c.name, c.type, c."notnull", c.pk
        FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
        WHERE m.type = 'table' ORDER BY m.name, c.cid
        """
    ).fetchall()


def migrate(connection: sqlite3.Connection, path: Path, migrations: Mapping[int, str]) -> None:
    """Bring the schema to the present version, step by step, each step whole or not at all.

    Raises:
        StoreError: the file was made by a newer edgecore.
        DamagedError: it says that it is new, and has tables.
    """
    found = version = _schema_version(connection)
    newest = max(n + 1 for n in migrations)
    if version > newest:
        raise StoreError(
            f"{path}: has schema {version}, this edgecore knows {newest}:"
            " use the edgecore that made it, or move the file away"
        )
    if version == 0:
        if _columns(connection):
            raise DamagedError("the version of the schema is lost")
        schema = resources.files(__package__ or "").joinpath("schema.sql").read_text("utf-8")
        connection.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = 1; COMMIT")
        version = 1
    while version < newest:
        connection.executescript(
            f"BEGIN IMMEDIATE; {migrations[version]}; PRAGMA user_version = {version + 1}; COMMIT"
        )
        version += 1
    if found not in {0, newest}:
        logger.info("the edge-store's schema was brought up to date", extra={"schema": newest})


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
