"""Values that are sealed: real AES, and keys that are made up."""

import subprocess
import sys

import pytest

from common.errors import StoreError
from edgecore.edgestore.records import StoredObject
from edgecore.edgestore.rows import Row, object_row, to_object
from edgecore.edgestore.sealing import KEY_BYTES, Sealer, is_sealed
from tests.edgecore.edgestore.objects import stored

SECRET = stored("default/secret/db", uid="u1", version=7, value=b'{"data":{"password":"aHVudGVy"}}')
TOKEN = StoredObject(
    "default/serviceaccounttoken/default/01",
    "serviceaccounttoken",
    "default",
    "default",
    "u2",
    0,
    b'{"status":{"token":"aHVudGVy"}}',
)
CONFIGMAP = stored("default/configmap/web", value=b'{"data":{}}')


class MadeUp:
    """Keys with one key, or none."""

    def __init__(self, key: bytes | None = b"k" * KEY_BYTES) -> None:
        self.key, self.asked = key, 0

    def find(self) -> bytes | None:
        self.asked += 1
        return self.key

    def find_or_make(self) -> bytes:
        if self.key is None:
            raise StoreError("no room")
        self.asked += 1
        return self.key


def row(sealer: Sealer) -> Row:
    return object_row(SECRET, sealer.value(SECRET))


@pytest.mark.parametrize("one", [SECRET, TOKEN])
def test_what_is_secret_is_sealed_and_comes_back(one: StoredObject) -> None:
    sealer = Sealer(MadeUp())
    value = sealer.value(one)
    assert is_sealed(value)
    assert b"aHVudGVy" not in value
    opened = sealer.opened(object_row(one, value))
    assert opened is not None
    assert to_object(opened) == one


def test_two_seals_of_one_value_differ() -> None:
    sealer = Sealer(MadeUp())
    assert sealer.value(SECRET) != sealer.value(SECRET)


def test_other_types_stay_as_they_are_and_need_no_key() -> None:
    keys = MadeUp(None)
    sealer = Sealer(keys)
    assert sealer.value(CONFIGMAP) == CONFIGMAP.value
    assert sealer.opened(object_row(CONFIGMAP, CONFIGMAP.value)) is not None
    assert keys.asked == 0


def test_a_secret_that_was_stored_in_the_clear_is_read_without_a_key() -> None:
    opened = Sealer(MadeUp(None)).opened(object_row(SECRET, SECRET.value))
    assert opened is not None
    assert to_object(opened) == SECRET


@pytest.mark.parametrize("key", [None, b"x" * KEY_BYTES])
def test_without_its_key_a_value_is_not_opened(key: bytes | None) -> None:
    assert Sealer(MadeUp(key)).opened(row(Sealer(MadeUp()))) is None


def test_a_key_that_appears_later_is_taken() -> None:
    keys = MadeUp(None)
    sealer, sealed = Sealer(keys), row(Sealer(MadeUp()))
    assert sealer.opened(sealed) is None
    with pytest.raises(StoreError, match="no room"):
        sealer.value(SECRET)
    keys.key = b"k" * KEY_BYTES
    assert sealer.opened(sealed) is not None


@pytest.mark.parametrize("column", [0, 4, 5])
def test_a_sealed_value_is_of_no_use_in_another_row(column: int) -> None:
    moved = list(row(Sealer(MadeUp())))
    moved[column] = 8 if column == 5 else "other"
    assert Sealer(MadeUp()).opened(tuple(moved)) is None


@pytest.mark.parametrize("length", [8, 12, 20, 30])
def test_a_sealed_value_that_is_cut_off_is_not_opened(length: int) -> None:
    cut = row(Sealer(MadeUp()))
    assert Sealer(MadeUp()).opened((*cut[:-1], cut[-1][:length])) is None


def test_cryptography_is_loaded_for_the_first_secret_only() -> None:
    program = """
import sys
import edgecore.app
from edgecore.edgestore.sealing import Sealer
from tests.edgecore.edgestore.test_sealing import CONFIGMAP, SECRET, MadeUp
sealer = Sealer(MadeUp())
sealer.value(CONFIGMAP)
assert not any(name.startswith("cryptography") for name in sys.modules)
sealer.value(SECRET)
assert "cryptography.hazmat.primitives.ciphers.aead" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
