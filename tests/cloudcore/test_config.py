"""Configuration of cloudcore, from file, environment and flags as the command line gives them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cloudcore.config import ENV_PREFIX, CloudCoreSettings
from common import wire
from common.capabilities import ALL, NONE, Capability
from common.config import Sources, load
from common.errors import ConfigError


def settings(
    flags: Mapping[str, object],
    *,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> CloudCoreSettings:
    return load(CloudCoreSettings, Sources(ENV_PREFIX, file, environ or {}, flags)).settings


def faults(
    flags: Mapping[str, object],
    *,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings(flags, environ=environ, file=file)
    return caught.value.faults


def test_the_address_that_edges_use_is_all_that_must_be_told() -> None:
    made = settings({"advertise_address": "cloud.example"})
    assert made.advertise_address == ("cloud.example",)
    assert (made.websocket_port, made.https_port) == (10000, 10002)
    assert made.max_message_bytes == wire.MAX_MESSAGE_BYTES


def test_nothing_is_open_to_others_unless_told() -> None:
    made = settings({"advertise_address": "cloud.example"})
    for address in (made.websocket_address, made.https_address, made.monitor_address):
        assert address.startswith("127.0.0.1")


def test_what_is_missing_is_named() -> None:
    (fault,) = faults({})
    assert fault.startswith("--advertise-address: must be given")


@pytest.mark.parametrize(
    "text", ["a.example,10.0.0.1", " a.example , 10.0.0.1 ,", ",a.example,,10.0.0.1"]
)
def test_addresses_have_commas_between(text: str) -> None:
    assert settings({"advertise_address": text}).advertise_address == ("a.example", "10.0.0.1")
    environ = {"CLOUDCORE_ADVERTISE_ADDRESS": text}
    assert settings({}, environ=environ).advertise_address == ("a.example", "10.0.0.1")


def test_a_file_may_have_a_list_of_addresses(tmp_path: Path) -> None:
    file = tmp_path / "cloudcore.yaml"
    file.write_text("advertise-address: [a.example, 10.0.0.1]\nwebsocket_port: 7\n")
    made = settings({}, file=file)
    assert made.advertise_address == ("a.example", "10.0.0.1")
    assert made.websocket_port == 7


@pytest.mark.parametrize("text", [",", " , "])
def test_a_list_without_an_address_is_none(text: str) -> None:
    (fault,) = faults({"advertise_address": text})
    assert fault.startswith("--advertise-address: ")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("websocket_port", "0"),
        ("https_port", "65536"),
        ("node_limit", "0"),
        ("keepalive_s", "1"),
        ("max_message_bytes", str(64 * 1024 - 1)),
        ("max_message_bytes", str(wire.MAX_MESSAGE_BYTES + 1)),
        ("monitor_address", "9091"),
        ("log_level", "loud"),
    ],
)
def test_a_value_out_of_bounds_is_refused_under_the_flags_name(option: str, value: str) -> None:
    (fault,) = faults({"advertise_address": "a", option: value})
    assert fault.startswith(f"--{option.replace('_', '-')}: ")


def test_all_faults_are_told_at_once_each_with_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "cloudcore.yaml"
    file.write_text("https-prot: 10002\nkeepalive-s: never\n")
    told = faults({"websocket_port": "x"}, environ={"CLOUDCORE_NODE_LIMITS": "5"}, file=file)
    for words in (
        f"{file}: https_prot: unknown option; did you mean https-port?",
        "environment: CLOUDCORE_NODE_LIMITS: unknown option; did you mean node-limit?",
        f"{file}: keepalive_s: ",
        "--websocket-port: ",
        "--advertise-address: must be given",
    ):
        assert any(fault.startswith(words) for fault in told), words
    assert len(told) == 5


def test_what_of_the_protocol_is_spoken_can_be_said(tmp_path: Path) -> None:
    needed = {"advertise_address": "a"}
    assert settings(needed).capabilities == ALL
    assert settings(needed | {"capabilities": "none"}).capabilities == NONE
    assert settings(needed | {"capabilities": "acks, beats"}).capabilities == {
        Capability.ACKS,
        Capability.BEATS,
    }
    file = tmp_path / "cloudcore.yaml"
    file.write_text("capabilities: [digest]\n")
    assert settings(needed, file=file).capabilities == {Capability.DIGEST}


def test_a_word_that_is_none_of_the_protocols_is_refused_with_those_that_are() -> None:
    (fault,) = faults({"advertise_address": "a", "capabilities": "acks,telepathy"})
    assert fault == (
        "--capabilities: 'telepathy' is none of acks, beats, chunks, deflate, digest, nor none"
    )
