"""A network of a process's own: a namespace without a way out but those that are made for it.

Nothing of it has a name that could stay behind: a guard holds the namespace (see ``netguard``) and
ends what is in it, also where this process is killed; then the kernel removes it.
"""

import subprocess
import sys
from types import TracebackType
from typing import Final, Self

from deploy.devcluster import netguard
from deploy.devcluster.machine import ContainerEngineError, run
from deploy.devcluster.remains import find_program

CLOUD_ADDRESS: Final = "198.18.0.1"
"""Of this machine, as seen from the other end of every wire. RFC 2544 keeps the range for tests."""

_MONITOR_ADDRESS: Final = "198.19.0.1"
_MONITOR: Final = "monitor"
_END_S: Final = 20.0
_HOSTS: Final = 65_000


class NetworkError(Exception):
    """A network cannot be made or changed; the message says why."""


class Namespace:
    """A network namespace with a loopback interface and one way for asking what runs in it.

    That way is no part of what is tested: daemons inside are asked for their health and figures on
    ``monitor_address``, whatever happens to their wires. A context manager.
    """

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make it.

        Raises:
            NetworkError: the machine does not allow it.
        """
        # The way for asking has an end out here, which would stay for as long as the namespace.
        farewell = (find_program("ip") or "ip", "link", "delete", _MONITOR)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", netguard.__file__, *farewell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C reaches the parent only, whose end then is the sign.
            start_new_session=True,
        )
        try:
            self._await_guard(self._guard)
            self.run("ip", "link", "set", "lo", "up")
            self._make_monitor()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every process in it; the namespace goes with the last one."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate(timeout=_END_S)

    @property
    def pid(self) -> int:
        """A process that is in it as long as it lasts."""
        assert self._guard is not None, "enter it first"
        return self._guard.pid

    @property
    def entry(self) -> tuple[str, ...]:
        """What stands in front of a command line that is to run in it."""
        return (find_program("nsenter") or "nsenter", f"--net=/proc/{self.pid}/ns/net")

    @property
    def address(self) -> str:
        """Its address on a wire, another one in each namespace."""
        return f"198.18.{self._host}"

    @property
    def monitor_address(self) -> str:
        """Where what listens in it is reached without the wire."""
        return f"198.19.{self._host}"

    def run(self, *command: str) -> None:
        """Run a command in it.

        Raises:
            NetworkError: it fails; with its words.
        """
        outside(*self.entry, find_program(command[0]) or command[0], *command[1:])

    @property
    def _host(self) -> str:
        high, low = divmod(self.pid % _HOSTS + 2, 256)
        return f"{high}.{low}"

    def _await_guard(self, guard: subprocess.Popen[bytes]) -> None:
        assert guard.stdout is not None
        assert guard.stderr is not None
        if not guard.stdout.readline():
            raise NetworkError(guard.stderr.read().decode(errors="replace").strip())

    def _make_monitor(self) -> None:
        outer = f"mon{self.pid}"
        inner = ("peer", "name", _MONITOR, "netns", str(self.pid))
        outside("ip", "link", "add", outer, "type", "veth", *inner)
        outside(
            "ip", "address", "add", _MONITOR_ADDRESS, "peer", self.monitor_address, "dev", outer
        )
        outside("ip", "link", "set", outer, "up")
        ends = (self.monitor_address, "peer", _MONITOR_ADDRESS)
        self.run("ip", "address", "add", *ends, "dev", _MONITOR)
        self.run("ip", "link", "set", _MONITOR, "up")


def outside(*command: str) -> None:
    """Run a command of network tools in this process's own network.

    Raises:
        NetworkError: it fails; with its words.
    """
    try:
        run(*command)
    except ContainerEngineError as error:
        raise NetworkError(str(error)) from error
