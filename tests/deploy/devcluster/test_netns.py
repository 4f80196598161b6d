"""Networks of a process's own. Namespaces, interfaces, processes and kills are real."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.devcluster.netns import Namespace, NetworkError, outside
from deploy.devcluster.remains import run

pytestmark = pytest.mark.usefixtures("wires_run")

_END_S = 10.0

# Prints the processes of a namespace: the one that holds it, and one in it that would never end.
MAKER = """
import subprocess, sys
from deploy.devcluster.netns import Namespace
with Namespace() as namespace:
    inside = subprocess.Popen([*namespace.entry, "sleep", "1000"], start_new_session=True)
    print(namespace.pid, inside.pid, flush=True)
    sys.stdin.read()
"""


def network_of(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def start_inside(namespace: Namespace) -> subprocess.Popen[bytes]:
    """Start what never ends by itself; it is in the namespace when this returns."""
    process = subprocess.Popen(
        [*namespace.entry, "/bin/sh", "-c", "echo in; exec sleep 1000"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def ended(handle: int) -> bool:
    """Whether the process behind a pidfd ends soon; it is closed."""
    try:
        return bool(select.select([handle], [], [], _END_S)[0])
    finally:
        os.close(handle)


def test_what_runs_inside_has_another_network_than_we() -> None:
    with Namespace() as namespace, start_inside(namespace) as process:
        assert network_of(process.pid) == network_of(namespace.pid) != network_of("self")
        process.kill()


def test_two_namespaces_have_different_addresses() -> None:
    with Namespace() as one, Namespace() as other:
        assert one.address != other.address
        assert one.monitor_address != other.monitor_address


def test_its_end_is_the_end_of_all_that_runs_inside() -> None:
    with Namespace() as namespace:
        process = start_inside(namespace)
        interface = f"mon{namespace.pid}"
        assert interface in run("ip", "-brief", "link")
    assert interface not in run("ip", "-brief", "link")
    with process:
        assert process.wait(_END_S) == -signal.SIGKILL


def test_the_end_of_who_made_it_is_the_end_of_it() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", MAKER], stdin=pipe, stdout=pipe) as maker:
        assert maker.stdout is not None
        pids = [int(word) for word in maker.stdout.readline().split()]
        assert len(pids) == 2
        handles = [os.pidfd_open(pid) for pid in pids]
        maker.kill()
        assert [ended(handle) for handle in handles] == [True, True]


def test_what_the_machine_refuses_is_said_in_its_words() -> None:
    with pytest.raises(NetworkError, match="no-such-device"):
        outside("ip", "link", "set", "no-such-device", "up")


def test_a_namespace_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise NetworkError("refused")

    monkeypatch.setattr(Namespace, "run", refuse)
    namespace = Namespace()
    with pytest.raises(NetworkError, match="refused"), namespace:
        pass
    assert namespace._guard is None
