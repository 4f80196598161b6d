"""Where the key of an edge-store is: real files."""

import logging
import os
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.keyfile import CREDENTIAL, FILE_NAME, KeyFile, credential
from edgecore.edgestore.sealing import KEY_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / FILE_NAME


def test_a_key_is_made_when_it_is_needed_and_is_the_same_from_then_on(path: Path) -> None:
    assert KeyFile(path).find() is None
    assert not path.exists()
    key = KeyFile(path).find_or_make()
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyFile(path).find() == KeyFile(path).find_or_make() == key


def test_two_stores_have_two_keys(tmp_path: Path) -> None:
    one, other = KeyFile(tmp_path / "a" / FILE_NAME), KeyFile(tmp_path / "b" / FILE_NAME)
    assert one.find_or_make() != other.find_or_make()


def test_the_key_is_in_no_log_and_no_text(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keys = KeyFile(path)
    keys.find_or_make()
    assert caplog.records
    assert str(keys) == str(path)
    assert path.read_text().strip() not in caplog.text + repr(keys) + repr(vars(keys))


@pytest.mark.parametrize("content", [b"", b"short\n", b" " * 99])
def test_a_file_that_holds_no_key_is_set_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert KeyFile(path).find() is None
    KeyFile(path).find_or_make()
    path.write_bytes(b"damaged again")
    KeyFile(path).find_or_make()
    assert path.with_name(f"{FILE_NAME}.damaged-1").read_bytes() == content
    assert path.with_name(f"{FILE_NAME}.damaged-2").read_bytes() == b"damaged again"


def test_a_key_that_others_could_read_is_for_this_user_only_afterwards(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"k" * 99)
    path.chmod(0o644)
    KeyFile(path).check()
    assert path.stat().st_mode & 0o777 == 0o600
    KeyFile(path.with_name("nothing")).check()


def test_where_a_key_cannot_be_made_the_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be made: (Not a directory|File exists)"):
        KeyFile(tmp_path / "file" / FILE_NAME).find_or_make()


def test_systemds_credential_takes_the_place_of_the_file(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    assert credential({}) is None
    assert credential({"CREDENTIALS_DIRECTORY": str(folder)}) is None
    (folder / CREDENTIAL).write_bytes(os.urandom(32).hex().encode() + b"\n")
    given = credential({"CREDENTIALS_DIRECTORY": str(folder)})
    assert given is not None
    keys = KeyFile(path, given)
    keys.check()
    assert keys.find() == keys.find_or_make()
    assert str(keys) == str(given)
    assert not path.exists()


def test_a_credential_that_is_no_key_is_said_and_left_alone(path: Path, tmp_path: Path) -> None:
    given = tmp_path / CREDENTIAL
    given.write_bytes(b"x" * 31)
    keys = KeyFile(path, given)
    for use in (keys.check, keys.find_or_make):
        with pytest.raises(StoreError, match="31 bytes are no key: 32 are needed"):
            use()
    assert keys.find() is None
    assert given.read_bytes() == b"x" * 31
    given.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        keys.check()
