"""Secrets that an older edgecore has stored in the clear: sealed when the store is opened.

Afterwards the clear values are nowhere in the file (``secure_delete`` has overwritten them) nor in
its log, which is emptied. That all of it is done is noted last: until then each start does it anew.
"""

import sqlite3
from typing import Final

from edgecore.edgestore.connecting import transaction
from edgecore.edgestore.rows import object_row, to_object
from edgecore.edgestore.schema import CLEAR_STATE
from edgecore.edgestore.sealing import SEALED_TYPES, Sealer, is_sealed

_IS_LEFT: Final = "SELECT 1 FROM state WHERE key = ?"
_DONE: Final = "DELETE FROM state WHERE key = ?"
_ALL: Final = """
    SELECT rowid, key, type, namespace, name, uid, resource_version, checksum, value
    FROM objects WHERE type = ?
"""
_SEAL: Final = "UPDATE objects SET checksum = ?, value = ? WHERE rowid = ?"


def seal_what_is_clear(connection: sqlite3.Connection, sealer: Sealer) -> int | None:
    """Seal what is in the clear; return how much that was, or None where nothing was to be done.

    Args:
        connection: the only one; all rows are sound.
        sealer: seals; needs its key only if there is anything.

    Raises:
        sqlite3.Error: the disk is full, or fails; it is done at the next start.
        StoreError: there is no key; as above.
    """
    if connection.execute(_IS_LEFT, (CLEAR_STATE,)).fetchone() is None:
        return None
    sealed = 0
    with transaction(connection):
        for kind in sorted(SEALED_TYPES):
            rows = connection.execute(_ALL, (kind,)).fetchall()
            clear = [(n, to_object(tuple(row))) for n, *row in rows if not is_sealed(row[-1])]
            for number, stored in clear:
                *_, checksum, value = object_row(stored, sealer.value(stored))
                connection.execute(_SEAL, (checksum, value, number))
            sealed += len(clear)
    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise sqlite3.OperationalError("the log is in use")
    connection.execute(_DONE, (CLEAR_STATE,))
    return sealed
