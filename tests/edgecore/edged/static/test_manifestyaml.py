"""YAML of manifests, read by the real PyYAML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.static.manifestyaml import YamlError, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("12:30", "12:30"),
        ("1:2.5", "1:2.5"),
        ("1.2.3", "1.2.3"),
        ("500m", "500m"),
        ("0644", 0o644),
        ("0x1f", 31),
        ("1_000", 1000),
        ("-7", -7),
        ("0", 0),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("1.", 1.0),
        ("yes", True),
        ("off", False),
        ("~", None),
    ],
)
def test_a_scalar_is_what_kubernetes_takes_it_for(text: str, value: object) -> None:
    made = parse_yaml(f"a: {text}".encode())["a"]
    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a: [s3cret", "in line 1"),
        (b"a: 1\nb: !!python/object:os.system s3cret", "in line 2"),
        (b"a: 1\n---\nb: s3cret", "in line 2"),
        (b"\xffs3cret", "ReaderError"),
        (b"a: \x00s3cret", "ReaderError"),
        (b"[" * 5000, "RecursionError"),
        (b"a: !!timestamp s3cret", "AttributeError"),
        (b"a: !!bool s3cret", "KeyError"),
        (b"a: !!int ''", "IndexError"),
    ],
)
def test_what_is_no_document_is_said_without_what_stands_in_it(data: bytes, words: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse_yaml(data)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_empty_text_is_none() -> None:
    assert parse_yaml(b"# nothing\n") is None


@given(st.binary(max_size=64) | st.text("a:-[]{}&*!#\n 019.'\"", max_size=32).map(str.encode))
def test_any_bytes_give_a_document_or_an_error(data: bytes) -> None:
    try:
        parse_yaml(data)
    except YamlError as error:
        assert str(error)  # noqa: PT017 - either of the two will do
