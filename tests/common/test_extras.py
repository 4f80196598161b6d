"""What is installed is looked for; this environment has it all, but for what a test takes away."""

import sys
import tomllib
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.extras import check_extra

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("extra", ["cloud", "edge"])
def test_what_is_installed_is_found(extra: str) -> None:
    assert extra in tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    check_extra(extra)


@pytest.mark.parametrize(
    ("extra", "absent", "words"),
    [
        ("cloud", ["aiohttp", "jwt"], "aiohttp, jwt: not installed: install cloudedge[cloud]"),
        ("edge", ["h11"], "h11: not installed: install cloudedge[edge]"),
        ("edge", ["google.protobuf"], "google.protobuf: not installed: install cloudedge[edge]"),
    ],
)
def test_what_is_not_installed_is_named_with_what_to_install(
    extra: str, absent: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        check_extra(extra)
    assert str(caught.value) == words


def test_a_package_that_is_missing_as_a_whole_is_no_other_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    monkeypatch.setitem(sys.modules, "google", None)
    with pytest.raises(ConfigError, match=r"google\.protobuf: not installed"):
        check_extra("edge")
