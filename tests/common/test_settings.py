"""What a daemon can be told, as dataclasses. All is real."""

from typing import Annotated

import pytest

from common.settings import (
    Between,
    Check,
    DaemonSettings,
    FromText,
    Settings,
    configuration,
    flag_name,
    option,
    split_address,
    with_commas,
)


@configuration
class Sample(Settings):
    """What the tests configure."""

    node_name: Annotated[str, Check(len)] = option(help="Name of the node.")
    port: Annotated[int, Between(1, 65535)] = option(default=10000, help="Port of the hub.")
    words: Annotated[tuple[str, ...], FromText(with_commas)] = option(
        default_factory=tuple, help="Words."
    )
    token: str = option(default="", is_secret=True, help="Not to be seen.")


def test_what_can_be_told_is_listed_in_order_with_all_that_is_known_of_it() -> None:
    options = Sample.options()
    assert list(options) == ["node_name", "port", "words", "token"]
    assert [one.is_required for one in options.values()] == [True, False, False, False]
    assert [one.default for one in options.values()] == [None, 10000, (), ""]
    assert options["port"].type == Annotated[int, Between(1, 65535)]
    assert options["port"].help == "Port of the hub."


def test_what_is_not_to_be_seen_is_in_no_repr_and_notes_are_no_part_of_the_value() -> None:
    made = Sample(node_name="n", token="hunter2", notes=("said",))
    assert "hunter2" not in repr(made)
    assert made == Sample(node_name="n", token="hunter2")


def test_a_class_has_the_options_of_its_base_and_may_have_other_defaults() -> None:
    @configuration
    class More(Sample):
        port: int = option(default=7, help="Another port.")
        own: bool = option(default=False, help="One more.")

    assert list(More.options()) == ["node_name", "port", "words", "token", "own"]
    assert More(node_name="n").port == 7


def test_a_flag_has_hyphens() -> None:
    assert flag_name("node_name") == "--node-name"


def test_an_address_is_a_host_and_a_port() -> None:
    assert split_address("localhost:1") == ("localhost", 1)
    assert split_address("[::1]:65535") == ("::1", 65535)
    for text in ("", "1", ":1", "a:", "a:65536", "a:-1"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            split_address(text)


def test_what_is_between_commas_is_taken_without_what_is_empty() -> None:
    assert with_commas(" a , b,,") == ("a", "b")


def test_a_daemon_tells_how_it_does_where_it_is_told_to() -> None:
    assert DaemonSettings().monitor_endpoint() is None
    assert DaemonSettings(monitor_address="[::1]:5").monitor_endpoint() == ("::1", 5)


def test_a_kind_of_file_that_nobody_translates_is_a_fault() -> None:
    assert Sample.translate({"apiVersion": "x/v1"}).faults == (
        "apiVersion: this command reads no file of x/v1",
    )
