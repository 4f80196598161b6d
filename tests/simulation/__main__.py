"""Run schedules: ``python -m tests.simulation``, or ``make chaos``.

``SEED``
    of the first schedule. Alone it is one schedule, whose history is told. Without it the first
    seed is drawn, and printed.
``SCHEDULES``
    how many there are, with seeds that follow each other.
``STEPS``
    deeds of each; less of them are the beginning of the same schedule.
``UNTIL_BROKEN``
    if set, no more schedules begin after one that broke a promise.
``BREAK``
    a fault of ``tests.simulation.sabotage`` that is put into the product; ``all`` tries one after
    the other until it is found, and succeeds if all are.
``VERBOSE``
    tells each message of a single schedule too.

The exit code is 1 where a promise was broken. A seed gives the same run wherever the sources are
the same: the order in which Python walks through sets of strings is fixed as well.
"""

import os
import secrets
import sys
from dataclasses import replace

from tests.simulation import runner
from tests.simulation.sabotage import SABOTAGES


def main() -> int:
    """Do as the environment says."""
    environment = os.environ
    if environment.get("PYTHONHASHSEED") != "0":
        arguments = [sys.executable, "-m", "tests.simulation"]
        os.execve(sys.executable, arguments, {**environment, "PYTHONHASHSEED": "0"})  # noqa: S606 - this very program
    seed = int(environment.get("SEED") or secrets.randbelow(10**9))
    steps = int(environment.get("STEPS") or runner.STEPS)
    is_single = "SEED" in environment and "SCHEDULES" not in environment
    wanted = runner.Wanted(
        range(seed, seed + (1 if is_single else int(environment.get("SCHEDULES") or 200))),
        steps,
        sabotage=environment.get("BREAK", ""),
        is_verbose=bool(environment.get("VERBOSE")),
        tells_history=is_single,
        until_broken="UNTIL_BROKEN" in environment,
    )
    if wanted.sabotage != "all":
        return runner.run(wanted)
    hidden = [
        name
        for name in SABOTAGES
        if runner.run(replace(wanted, sabotage=name, until_broken=True)) == 0
    ]
    return len(hidden)


if __name__ == "__main__":
    sys.exit(main())
