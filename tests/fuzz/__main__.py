"""Fuzz for a while: ``python -m tests.fuzz MINUTES [TARGET…]``, or ``make fuzz MINUTES=10``.

Each target has an equal part of the time; without names, all of them. With atheris installed, which
is no requirement (it is large, and made for one kind of machine), what comes is guided by which
code was reached; otherwise it is what is kept, changed at random, by a seed that is told.

A finding is told with its traceback and kept in the working folder as ``finding-<target>``; the
exit code is 1.
"""

import importlib.util
import secrets
import subprocess
import sys
import time
import traceback
from pathlib import Path
from random import Random

from tests.fuzz.corpora import FOLDER, corpus
from tests.fuzz.mutation import MAX_BYTES, mutate
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    """Do as the arguments say."""
    minutes, names = float(arguments[0]), arguments[1:] or list(TARGETS)
    each_s = minutes * 60 / len(names)
    if importlib.util.find_spec("atheris") is None:
        return sum(_at_random(name, each_s) for name in names) and 1
    return sum(_guided_apart(name, each_s) for name in names) and 1


def _at_random(name: str, for_s: float) -> int:
    seed, target, seeds = secrets.randbelow(10**9), TARGETS[name], corpus(name)
    random, tries, until_s = Random(seed), 0, time.monotonic() + for_s
    while time.monotonic() < until_s:
        data = mutate(random, seeds)
        tries += 1
        try:
            target(data)
        except Exception:  # noqa: BLE001 - whatever comes out of it is a finding
            traceback.print_exc()
            finding = Path(f"finding-{name}")
            finding.write_bytes(data)
            print(f"{name}: seed {seed}, input {tries}: see {finding}")  # noqa: T201 - its report
            return 1
    print(f"{name}: {tries} inputs from seed {seed}, nothing found")  # noqa: T201 - its report
    return 0


def _guided_apart(name: str, for_s: float) -> int:
    """Run a target in a process of its own: libFuzzer ends the one that it runs in."""
    command = [sys.executable, "-m", "tests.fuzz.guided", name, f"-max_total_time={for_s:.0f}"]
    options = [f"-max_len={MAX_BYTES}", "-timeout=20", f"-artifact_prefix=finding-{name}-"]
    return subprocess.run([*command, *options, str(FOLDER / name)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
