"""A wire between this machine and a network namespace, on which packets are late, lost or slow.

Both ends are TUN devices, between which this process carries IP packets: the kernels' TCP on both
sides meets the line as it would meet a real one. No traffic control of the kernel is needed, which
has ``netem`` on some machines only.
"""

import asyncio
import fcntl
import os
import struct
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.devcluster.netns import CLOUD_ADDRESS, Namespace, NetworkError, outside
from deploy.devcluster.remains import find_program
from deploy.devcluster.shaper import Line, Shaper

PERFECT: Final = Line()
_PROGRAMS: Final = {"ip": "iproute2", "nsenter": "util-linux"}
_TUN: Final = Path("/dev/net/tun")
_INSIDE: Final = "wan0"
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_WITHOUT_HEADER: Final = 0x0001 | 0x1000
_IFREQ: Final = struct.Struct("16sH22x")
_IPV4: Final = 4
_PACKET_BYTES: Final = 64 * 1024
_AT_ONCE: Final = 64


class Direction:
    """The packets that go one way, in their order."""

    def __init__(self, source: int, target: int) -> None:
        """Nothing is carried yet; ``source`` and ``target`` are the files of the two ends."""
        self._source, self._target = source, target
        self._loop = asyncio.get_running_loop()
        self._shaper = Shaper(PERFECT)
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.is_silent = False
        """Whether nothing arrives any more."""
        self.largest_bytes = _PACKET_BYTES
        """Larger packets do not arrive, and nobody is told: a black hole for a path's MTU."""
        self.bytes = 0
        """Sent so far, with the headers of IP and what is above it, whether it arrived or not."""
        self.lost = 0
        """Packets that were sent and did not arrive."""

    def start(self) -> None:
        """Carry what comes."""
        self._loop.add_reader(self._source, self._take)

    def stop(self) -> None:
        """Carry nothing any more."""
        self._loop.remove_reader(self._source)
        if self._timer is not None:
            self._timer.cancel()

    def shape(self, line: Line) -> None:
        """Be like ``line`` from now on."""
        self._shaper = Shaper(line)

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self._source, _PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the namespace is gone, and its end with it
                self._loop.remove_reader(self._source)
                return
            # The kernel looks for routers of IPv6 by itself, of which there are none here.
            if packet[0] >> 4 == _IPV4:
                self.bytes += len(packet)
                self._carry(packet)

    def _carry(self, packet: bytes) -> None:
        now_s = self._loop.time()
        arrival_s = self._shaper.arrival_s(len(packet), now_s)
        if arrival_s is None:
            self.lost += 1
        elif arrival_s <= now_s and not self._under_way:
            self._give(packet)
        else:
            self._under_way.append((arrival_s, packet))
            self._arm()

    def _arm(self) -> None:
        if self._under_way and self._timer is None:
            self._timer = self._loop.call_at(self._under_way[0][0], self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now_s:
            self._give(self._under_way.popleft()[1])
        self._arm()

    def _give(self, packet: bytes) -> None:
        if self.is_silent or len(packet) > self.largest_bytes:
            self.lost += 1
            return
        try:
            os.write(self._target, packet)
        except OSError:  # the interface is down, or has no room
            self.lost += 1


class Wire:
    """The only way of ``namespace`` to the world, which has this machine's ``CLOUD_ADDRESS``.

    A context manager; it belongs to the event loop in which it is entered, and carries nothing
    while that is busy. ``cut``, ``silence`` and ``shape`` may follow each other in any order.
    """

    def __init__(self, namespace: Namespace) -> None:
        """Nothing is made yet."""
        self._namespace = namespace
        self._files: list[int] = []
        self.up: Direction
        """From the namespace to this machine."""
        self.down: Direction
        """From this machine to the namespace."""

    def __enter__(self) -> Self:
        """Make both ends and carry packets between them.

        Raises:
            NetworkError: the machine does not allow it.
        """
        pid = self._namespace.pid
        try:
            near, far = self._device(f"wan{pid}"), self._device(f"far{pid}")
            outside("ip", "link", "set", f"far{pid}", "netns", str(pid), "name", _INSIDE)
            here, there = CLOUD_ADDRESS, self._namespace.address
            outside("ip", "address", "add", here, "peer", there, "dev", f"wan{pid}")
            outside("ip", "link", "set", f"wan{pid}", "up")
            self._namespace.run("ip", "address", "add", there, "peer", here, "dev", _INSIDE)
            self._namespace.run("ip", "link", "set", _INSIDE, "up")
        except BaseException:
            self._close()
            raise
        self.up, self.down = Direction(far, near), Direction(near, far)
        self.up.start()
        self.down.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove both ends."""
        self.up.stop()
        self.down.stop()
        self._close()

    def shape(self, line: Line) -> None:
        """Make both directions like ``line``; packets under way are not overtaken."""
        self.up.shape(line)
        self.down.shape(line)

    def cut(self) -> None:
        """Take the interface of the namespace down, as when a cable is pulled."""
        self._namespace.run("ip", "link", "set", _INSIDE, "down")

    def silence(self) -> None:
        """Lose every packet and tell neither side: connections are half open."""
        self.up.is_silent = self.down.is_silent = True

    def mend(self) -> None:
        """Undo ``cut`` and ``silence``; ``shape`` stays."""
        self.up.is_silent = self.down.is_silent = False
        self._namespace.run("ip", "link", "set", _INSIDE, "up")

    @property
    def bytes(self) -> int:
        """Sent so far in both directions."""
        return self.up.bytes + self.down.bytes

    def _device(self, name: str) -> int:
        file = _open_device(name)
        self._files.append(file)
        return file

    def _close(self) -> None:
        while self._files:
            os.close(self._files.pop())


def why_not() -> str:
    """Return why no daemon can be behind a wire on this machine, in few words; "" where it can."""
    missing = {package for name, package in _PROGRAMS.items() if find_program(name) is None}
    if missing:
        return f"not installed: {', '.join(sorted(missing))}"
    try:
        with Namespace() as namespace:
            os.close(_open_device(f"wan{namespace.pid}"))
    except NetworkError as error:
        return str(error)
    return ""


def _open_device(name: str) -> int:
    """Make a TUN device, which is there until the file that is returned is closed."""
    try:
        file = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NetworkError(f"{_TUN}: {error.strerror}") from error
    try:
        fcntl.ioctl(file, _TUNSETIFF, _IFREQ.pack(name.encode(), _IFF_TUN_WITHOUT_HEADER))
    except OSError as error:
        os.close(file)
        raise NetworkError(f"{_TUN}: {error.strerror}") from error
    return file
