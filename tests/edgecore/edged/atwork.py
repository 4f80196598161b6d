"""Pods at work: how they are seen from outside, in their status and as processes."""

import json
from pathlib import Path
from typing import Any

from edgecore.edged.runtime.process import ProcessRuntime
from tests.edgecore.edged.world import World, eventually


def processes(folder: Path) -> ProcessRuntime:
    return ProcessRuntime(folder / "process", mount=False)


def running(world: World, name: str = "web") -> Any:
    return world.container(name)["state"].get("running")


def container_id(world: World, name: str = "web") -> str:
    return str(world.container(name)["containerID"])


def pid_of(folder: Path) -> int:
    """The process of the only container there is."""
    [state] = (folder / "process").rglob("state.json")
    return int(json.loads(state.read_text())["pid"])


async def gone(folder: Path) -> None:
    await eventually(lambda: left_in(folder) == [])


def left_in(folder: Path) -> list[Path]:
    """What there is of pods."""
    places = (folder / place for place in ("process", "pods", "logs/pods"))
    return [path for place in places if place.exists() for path in place.iterdir()]
