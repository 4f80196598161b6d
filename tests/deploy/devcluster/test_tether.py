"""The tether, with real processes; nothing is faked."""

import os
import select
import signal
import subprocess
import sys

from deploy.devcluster.tether import tethered

DEADLINE_S = 20.0

SLEEPER = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]

PARENT_OF_A_SLEEPER = f"""
import subprocess
from deploy.devcluster.tether import tethered
subprocess.run(tethered({SLEEPER!r}), check=False)
"""


def test_the_program_runs_in_place_of_the_tether_with_its_arguments() -> None:
    done = subprocess.run(
        tethered([sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "--c"]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['a b', '--c']\n"


def test_the_program_dies_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT_OF_A_SLEEPER], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        sleeper = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            readable, _, _ = select.select([sleeper], [], [], DEADLINE_S)
            assert readable == [sleeper]
        finally:
            os.close(sleeper)


def test_the_program_does_not_start_once_the_parent_is_gone() -> None:
    command = tethered([sys.executable, "-c", "print('started')"])
    command[command.index(str(os.getpid()))] = "1" if os.getpid() != 1 else "2"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_program_that_is_stopped_by_a_signal_says_so_to_its_parent() -> None:
    with subprocess.Popen(tethered(SLEEPER), stdout=subprocess.PIPE, text=True) as sleeper:
        assert sleeper.stdout is not None
        assert int(sleeper.stdout.readline()) == sleeper.pid
        sleeper.terminate()
        assert sleeper.wait() == -signal.SIGTERM
