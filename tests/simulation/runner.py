"""Runs schedules, each in a process of its own, and says how they ended.

A schedule kills daemons, whose remains nobody clears away; so its process ends without looking
back, and nothing of it touches the next one.
"""

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from tests.simulation import determinism, sabotage
from tests.simulation.virtualloop import StalledError, VirtualLoop
from tests.simulation.world import Verdict, World

STEPS: Final = 40
PATIENCE_S: Final = 60.0
"""A schedule that takes more of a processor hangs."""

_MEMORY: Final = Path("/dev/shm")
_VERDICT: Final = "verdict.json"
_PREFIX: Final = "cloudedge-simulation-"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run."""

    seeds: Sequence[int]
    steps: int = STEPS
    sabotage: str = ""
    is_verbose: bool = False
    tells_history: bool = False
    until_broken: bool = False


@dataclass
class _Run:
    """A schedule that is under way."""

    seed: int
    folder: Path


@dataclass
class _Tally:
    schedules: int = 0
    broken: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def run(wanted: Wanted) -> int:
    """Run what is wanted, as many at a time as it may use processors; return the exit code."""
    started_s = time.monotonic()
    if wanted.sabotage:
        _say(f"broken on purpose: {wanted.sabotage}")
    place = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    _sweep(place)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as folder:
        gc.collect()
        gc.freeze()
        tally = _run_all(wanted, Path(folder))
    counts = ", ".join(f"{name} {value:,.0f}" for name, value in sorted(tally.counts.items()))
    took_s = time.monotonic() - started_s
    _say(f"{tally.schedules} schedules, {tally.broken} broken, {took_s:.1f} s: {counts}")
    return 1 if tally.broken else 0


def _sweep(place: Path) -> None:
    """Remove what runs that were killed have left behind."""
    for folder in place.glob(f"{_PREFIX}*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{process}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _run_all(wanted: Wanted, folder: Path) -> _Tally:
    tally, running = _Tally(), dict[int, _Run]()
    waiting = list(reversed(wanted.seeds))
    places = len(os.sched_getaffinity(0))
    while waiting or running:
        while waiting and len(running) < places:
            seed = waiting.pop()
            one = _Run(seed, folder / str(seed))
            one.folder.mkdir()
            running[_start(one, wanted)] = one
        process, _ = os.wait()
        if (done := running.pop(process, None)) is not None:
            _tell(done, wanted, tally)
            shutil.rmtree(done.folder)
        if tally.broken and wanted.until_broken:
            waiting.clear()
    return tally


def _start(one: _Run, wanted: Wanted) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _be_schedule(one, wanted)
    return process


def _be_schedule(one: _Run, wanted: Wanted) -> NoReturn:
    """Run a schedule in the process that was forked for it, and end that process."""
    try:
        signal.setitimer(
            signal.ITIMER_VIRTUAL, PATIENCE_S
        )  # of its own time, on a busy machine too
        gc.disable()  # so that nothing of a dead daemon is cleared away, and no time is lost
        logging.basicConfig(level=os.environ.get("LOG", "CRITICAL"))
        loop = VirtualLoop()
        determinism.install(one.seed, loop)
        sabotage.install(wanted.sabotage)
        verdict = _simulate(World(one.seed, one.folder, loop), wanted)
        (one.folder / _VERDICT).write_bytes(msgspec.json.encode(verdict))
    except BaseException:  # noqa: BLE001 - this process must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _simulate(world: World, wanted: Wanted) -> Verdict:
    if wanted.is_verbose:
        world.model.tell = world.note
    try:
        return world.loop.run_until_complete(world.run(wanted.steps))
    except StalledError as error:
        world.model.violated("progress", str(error))
        return world.verdict()


def _tell(one: _Run, wanted: Wanted, tally: _Tally) -> None:
    file = one.folder / _VERDICT
    if not file.exists():
        verdict = Verdict(one.seed, ("progress: the schedule gave no verdict",), (), "")
    else:
        verdict = msgspec.json.decode(file.read_bytes(), type=Verdict)
    tally.schedules += 1
    tally.counts.update(verdict.counts)
    if wanted.tells_history:
        _say("\n".join(verdict.history))
        _say(f"trace {verdict.digest}")
    if verdict.violations:
        tally.broken += 1
        _say(f"schedule {verdict.seed} broke promises (SEED={verdict.seed} STEPS={wanted.steps}):")
        _say("\n".join(f"  {violation}" for violation in verdict.violations))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program's own words
