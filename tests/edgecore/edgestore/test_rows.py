"""Rows and their checksums. Nothing is faked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.inventory import content_hash
from edgecore.edgestore.records import Entry, Identity, Tombstone
from edgecore.edgestore.rows import (
    is_sound_object,
    is_sound_tombstone,
    object_row,
    to_identity,
    to_object,
    to_tombstone,
    tombstone_row,
)
from tests.edgecore.edgestore.objects import stored

OBJECT = stored("default/configmap/web", uid="u1", version=7, value=b'{"a":1}')
TOMBSTONE = Tombstone("u1", "default/pod/web", 7, final=True)


@given(
    name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1),
    uid=st.text(st.characters(exclude_categories=["Cs"])),
    version=st.integers(0, 2**63 - 1),
    value=st.binary(),
)
def test_an_object_comes_back_from_its_row(name: str, uid: str, version: int, value: bytes) -> None:
    one = stored(f"default/pod/{name}", uid=uid, version=version, value=value)
    assert is_sound_object(object_row(one, one.value))
    assert to_object(object_row(one, one.value)) == one


@given(uid=st.text(), version=st.integers(0, 2**63 - 1), final=st.sampled_from((True, False)))
def test_a_tombstone_comes_back_from_its_row(uid: str, version: int, *, final: bool) -> None:
    ended = Tombstone(uid.encode(errors="replace").decode(), "default/pod/a", version, final)
    assert is_sound_tombstone(tombstone_row(ended))
    assert to_tombstone(tombstone_row(ended)) == ended


@pytest.mark.parametrize("column", range(8))
def test_an_object_is_not_sound_with_any_of_its_columns_changed(column: int) -> None:
    row = list(object_row(OBJECT, OBJECT.value))
    row[column] = b"{}" if column == 7 else 8 if isinstance(row[column], int) else "other"
    assert not is_sound_object(tuple(row))


def test_a_value_that_is_no_bytes_any_more_is_not_sound() -> None:
    assert not is_sound_object((*object_row(OBJECT, OBJECT.value)[:-1], '{"a":1}'))
    assert not is_sound_object((*object_row(OBJECT, OBJECT.value)[:-1], None))


def test_a_key_may_say_more_than_the_name() -> None:
    token = replace(OBJECT, key="default/configmap/web/0123")
    assert is_sound_object(object_row(token, b"sealed"))
    assert not is_sound_object(object_row(replace(OBJECT, key="default/configmap/website"), b""))


@pytest.mark.parametrize("column", range(5))
def test_a_tombstone_is_not_sound_with_any_of_its_columns_changed(column: int) -> None:
    row = list(tombstone_row(TOMBSTONE))
    row[column] = 8 if isinstance(row[column], int) else "other"
    assert not is_sound_tombstone(tuple(row))


def test_a_tombstone_of_an_older_schema_is_taken_as_it_is() -> None:
    assert is_sound_tombstone(("u1", "default/pod/web", 7, 1, None))


def test_an_identity_has_the_hash_of_the_value() -> None:
    row = object_row(OBJECT, OBJECT.value)
    entry = Entry("u1", 7, content_hash(b'{"a":1}'))
    assert to_identity(row) == Identity("default/configmap/web", "configmap", entry)
