"""Files of KubeEdge are read by a table. Nothing is real: a table of the tests' own."""

from typing import Any

import pytest

from common.kubeedgeconfig import (
    Convert,
    Fixed,
    Missing,
    Quiet,
    Table,
    Translated,
    Unused,
    Used,
    number,
    pairs,
    text,
    texts,
    translate,
)

VERSION = "sample/v1"
TABLE = Table(
    VERSION,
    "Sample",
    {
        "hub.address": Used(text("address"), default="anywhere"),
        "hub.port": Used(number("port")),
        "hub.names": Used(texts("hosts")),
        "hub.addresses": Used(texts("hosts")),
        "hub.oldPort": Used(number("port")),
        "hub.labels": Used(pairs("labels")),
        "hub.enable": Fixed(value=True, why="it is needed"),
        "hub.period": Unused(("1m",)),
        "hub.count": Unused((1,)),
        "hub.buffers": Quiet("there are none"),
        "devices": Missing("devices"),
    },
)


def translated(**hub: object) -> Translated:
    return translate({"apiVersion": VERSION, "kind": "Sample", "hub": hub}, TABLE)


def test_a_key_that_is_used_becomes_an_option_that_knows_whence_it_comes() -> None:
    found = translated(port=5, address="127.0.0.1", labels={"a": "b"})
    assert found.options == {"port": 5, "address": "127.0.0.1", "labels": {"a": "b"}}
    assert found.origins["port"] == "hub.port"
    assert (found.unused, found.faults) == ((), ())


def test_kubeedges_default_holds_where_ours_is_another() -> None:
    assert translated(address="").options == {"address": "anywhere"}
    assert translate({"apiVersion": VERSION}, TABLE).options == {"address": "anywhere"}


def test_the_size_of_letters_does_not_matter() -> None:
    found = translate({"apiVersion": VERSION, "Hub": {"PORT": 7}}, TABLE)
    assert found.options["port"] == 7
    assert found.origins["port"] == "Hub.PORT"


def test_lists_for_one_option_are_put_together() -> None:
    found = translated(addresses=["10.0.0.1"], names=["", "a.example", "10.0.0.1"])
    assert found.options["hosts"] == ["10.0.0.1", "a.example"]
    assert "hosts" not in translated(names=[""]).options


def test_two_keys_that_disagree_are_a_fault() -> None:
    assert translated(port=5, oldPort=5).faults == ()
    assert translated(port=5, oldPort=6).faults == (
        "hub.oldPort: says another thing than hub.port: one is possible",
    )


@pytest.mark.parametrize("hub", [{"period": "1m0s"}, {"period": "60s"}, {"period": ""}])
def test_what_says_nothing_of_its_own_is_not_named(hub: dict[str, object]) -> None:
    assert translated(**hub, count=1, buffers={"a": 5}, other=None).unused == ()


def test_what_is_said_and_has_no_effect_is_named() -> None:
    found = translated(period="1m1s", count=True, other=5, deep={"a": 1})
    assert found.unused == ("hub.period", "hub.count", "hub.other", "hub.deep")
    assert translated(period=60).unused == ("hub.period",)


def test_a_part_that_is_missing_here_is_named_where_it_is_enabled() -> None:
    document: dict[str, Any] = {"apiVersion": VERSION, "devices": {"enable": True, "x": 1}}
    assert translate(document, TABLE).unused == ("devices (devices)",)
    for off in ({"enable": False, "x": 1}, {"x": 1}, None):
        assert translate(document | {"devices": off}, TABLE).unused == ()


def test_a_part_that_nobody_knows_is_named_unless_it_is_off() -> None:
    document: dict[str, Any] = {"apiVersion": VERSION, "new": {"enable": True}}
    assert translate(document, TABLE).unused == ("new",)
    assert translate(document | {"new": {"enable": False}}, TABLE).unused == ()


def test_what_cannot_be_otherwise_is_a_fault_otherwise() -> None:
    assert translated(enable=True).faults == ()
    assert translated(enable=None).faults == ()
    assert translated(enable=False).faults == ("hub.enable: must be true: it is needed",)


@pytest.mark.parametrize(
    ("convert", "value"),
    [
        (text("x"), 5),
        (number("x"), "5"),
        (number("x"), True),
        (texts("x"), "a"),
        (texts("x"), ["a", 5]),
        (pairs("x"), ["a"]),
        (pairs("x"), {"a": 1}),
    ],
)
def test_a_value_of_another_type_is_refused(convert: Convert, value: object) -> None:
    with pytest.raises(ValueError, match="expected a"):
        convert(value)


def test_faults_name_the_path_and_never_the_value() -> None:
    assert translated(port="SECRET").faults == ("hub.port: expected a number",)
    document: dict[str, Any] = {"apiVersion": VERSION, "hub": "SECRET"}
    assert translate(document, TABLE).faults == ("hub: expected a mapping",)
    assert translate(document | {"hub": None}, TABLE).faults == ()


def test_another_version_or_kind_is_not_guessed_at() -> None:
    for document in ({"apiVersion": "sample/v2"}, {"apiVersion": VERSION, "kind": "Other"}):
        found = translate(document, TABLE)
        assert found.options == {}
        assert found.faults[0].startswith("apiVersion: expected sample/v1 of kind Sample, not ")
