"""Model-checked faults: whatever befalls daemons, links, disks and the API server, promises hold.

Real: the controller and hub of cloudcore, the modules of edgecore with their edge-stores on SQLite
files. Simulated: time, the network, the API server (held to the real one in ``test_apiserver``),
containers. Each schedule is drawn from a seed, and ends with all faults healed; then P1 to P5 and
P8 are judged by a model that knows nothing of the code. ``make chaos SEED=...`` runs one again and
tells its history.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.sabotage import SABOTAGES

pytestmark = pytest.mark.timeout(300)  # seconds of others' work, on a machine that has much to do

ROOT = Path(__file__).parents[2]
SCHEDULES = 30


def run(**environment: str) -> tuple[int, str]:
    """Run schedules as ``make chaos`` does; return the exit code and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_promises_hold_in_every_schedule() -> None:
    code, said = run(SEED="1", SCHEDULES=str(SCHEDULES))
    assert code == 0, said
    assert f"{SCHEDULES} schedules, 0 broken" in said


def test_a_seed_gives_the_same_run_again() -> None:
    first, second = (run(SEED="2026", STEPS="25", VERBOSE="1") for _ in range(2))
    assert re.search(r"^trace [0-9a-f]{16}$", first[1], re.MULTILINE), first[1]
    assert _without_time(first[1]) == _without_time(second[1])


def test_each_fault_that_is_put_into_the_product_is_found() -> None:
    code, said = run(SEED="1", SCHEDULES="100", BREAK="all")
    assert code == 0, said
    assert said.count("broken on purpose") == len(SABOTAGES)


def _without_time(said: str) -> str:
    """Leave out the last line, which tells how long it took."""
    return said.rstrip().rpartition("\n")[0]
