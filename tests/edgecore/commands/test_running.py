"""How the commands start an edge. Handing over and running are recorded, the rest is real."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from common.settings import Settings
from edgecore.commands import running
from edgecore.config import EdgeCoreSettings, HollowSettings, RuntimeName


class StandardInput:
    """Standard input with something in it."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings, tuple[str, ...]]]:
    seen: list[tuple[str, Settings, tuple[str, ...]]] = []
    monkeypatch.setattr(
        running,
        "hand_over",
        lambda module, settings, *words: seen.append((module, settings, words)),
    )
    return seen


def test_the_token_goes_over_and_lies_nowhere_else(
    handed: list[tuple[str, EdgeCoreSettings, tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECORE_TOKEN", "hunter2")
    monkeypatch.setattr(sys, "argv", ["edgecore", "run", "--token=hunter2"])
    monkeypatch.setattr(sys, "stdin", StandardInput(b"a.b.c.d\n"))
    running.run(
        EdgeCoreSettings(cloud="c", node_name="n1", token_file=Path("-"), notes=("of the file",))
    )
    ((module, settings, words),) = handed
    assert (module, words) == ("edgecore.daemon", ("n1",))
    assert settings.read_token() == "a.b.c.d"
    assert settings.notes[0] == "of the file"
    assert len(settings.notes) == 3
    assert "hunter2" not in "".join(settings.notes)
    assert "EDGECORE_TOKEN" not in os.environ


def test_an_edge_whose_packages_are_not_installed_says_so_before_it_is_one(
    handed: list[tuple[str, EdgeCoreSettings, tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpclib", None)
    with pytest.raises(ConfigError, match=r"^grpclib: not installed: install cloudedge\[edge\]$"):
        running.run(EdgeCoreSettings(cloud="c", node_name="n1"))
    assert handed == []
    running.run(EdgeCoreSettings(cloud="c", node_name="n1", runtime=RuntimeName.HOLLOW))
    assert len(handed) == 1


def test_hollow_edges_run_in_the_process_that_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    from common import daemon  # noqa: PLC0415 - where the command looks for it
    from edgecore.app import run_hollow  # noqa: PLC0415 - as above

    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(daemon, "run_daemon", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(daemon, "raise_descriptor_limit", lambda: None)
    settings = HollowSettings(cloud="c", count=2)
    running.hollow(settings)
    assert seen == [("edgecore", run_hollow, settings)]
