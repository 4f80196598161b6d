"""Look at the machine: cgroups, engine, CNI, processes, the kernel's clock."""

import asyncio
import ctypes
import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from common.errors import ConfigError, RuntimeServiceError
from common.monitor import ask
from edgecore.config import EdgeCoreSettings, RuntimeName
from edgecore.datadir import SOCKET
from edgecore.doctor.machine import Engine, Machine

CNI_DIR: Final = Path("/etc/cni/net.d")

_ENGINE_S: Final = 5.0
_STRANGERS: Final = frozenset({"kubelet", "kube-proxy"})
_TIMEX_BYTES: Final = 512  # struct timex has 208, and may grow
_TIME_ERROR: Final = 5  # what adjtimex returns for a clock that nobody disciplines


def look(data_dir: Path, settings: EdgeCoreSettings | None, root: Path = Path("/")) -> Machine:
    """Return what is to be seen.

    Args:
        data_dir: where a running edgecore is asked for its version.
        settings: None where the configuration cannot be used; then no engine is looked for.
        root: of the file system; made up by tests.
    """
    has_memory, cgroup_version = cgroups(root)
    engine = None
    if settings is not None and settings.runtime is RuntimeName.CRI:
        engine = asyncio.run(look_at_engine(settings.runtime_endpoint))
    running = _running(data_dir)
    cni = root / CNI_DIR.relative_to("/")
    return Machine(
        is_root=os.geteuid() == 0,
        has_memory_cgroup=has_memory,
        cgroup_version=cgroup_version,
        engine=engine,
        cni_files=cni_files(cni),
        cni_dir=str(CNI_DIR),
        strangers=strangers(root / "proc"),
        is_time_synchronized=is_time_synchronized(),
        running_version=str(running.get("edgecore", {}).get("version") or ""),
        installed_version=version("cloudedge"),
        cloud_version=str(running.get("edgehub", {}).get("version") or ""),
    )


def cgroups(root: Path) -> tuple[bool, int]:
    """Return whether there is a memory controller, and the version of cgroups; 0 for none."""
    folder = root / "sys/fs/cgroup"
    try:
        return "memory" in (folder / "cgroup.controllers").read_text().split(), 2
    except OSError:
        pass
    is_mounted = folder.is_dir() and any(folder.iterdir())
    return (folder / "memory").is_dir() and any((folder / "memory").iterdir()), int(is_mounted)


def cni_files(folder: Path) -> tuple[str, ...]:
    """Return the names of CNI's configurations, in the order in which engines look for one."""
    try:
        names = sorted(one.name for one in folder.iterdir())
    except OSError:
        return ()
    return tuple(name for name in names if name.endswith((".conf", ".conflist", ".json")))


def strangers(proc: Path) -> tuple[str, ...]:
    """Return which programs run here that do what edgecore does."""
    return tuple(sorted(_STRANGERS.intersection(_programs(proc))))


async def look_at_engine(endpoint: str) -> Engine:
    """Ask the engine who it is, and whether it can run pods."""
    # Not at the top: gRPC, for edges with an engine.
    from edgecore.edged.runtime.cri.runtime import CriRuntime  # noqa: PLC0415

    try:
        runtime = CriRuntime(endpoint)
    except ConfigError as error:
        return Engine(endpoint, str(error), is_away=True)
    try:
        async with asyncio.timeout(_ENGINE_S):
            found = await runtime.version()
    except TimeoutError:
        return Engine(endpoint, f"no answer within {_ENGINE_S:.0f} s", is_away=True)
    except RuntimeServiceError as error:
        return Engine(endpoint, f"{error.reason}: {error}", is_away=error.is_unavailable)
    finally:
        await runtime.close()
    return Engine(endpoint, version=f"{found.name} {found.version}")


def is_time_synchronized() -> bool | None:
    """Return whether the kernel's clock is disciplined; None where it does not say."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def _programs(proc: Path) -> Iterable[str]:
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            try:
                yield (folder / "comm").read_text().strip()
            except OSError:  # it has ended meanwhile
                continue


def _running(data_dir: Path) -> Mapping[str, Any]:
    """Return what an edgecore that runs tells; nothing where none does."""
    try:
        told = json.loads(ask(data_dir / SOCKET))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
