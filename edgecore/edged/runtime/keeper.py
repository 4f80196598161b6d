"""The keeper of one container of the process runtime: a small program that outlives edgecore.

``python -I -S -E -X utf8 keeper.py <container directory>``, with these files open:

- 0: the order, a JSON object: it holds Secrets, so it is neither on disk nor on a command line;
- 3: the lock of the directory, held already; it is let go when the keeper ends, however it ends,
  and so is the proof of its life;
- 4: a socket: edgecore sends a byte once it has noted who the keeper is, and nothing is started if
  edgecore dies before that; then one JSON line tells whether the command was started.

The keeper starts the command, writes its output to a log in CRI's format, passes SIGTERM on to it,
and kills it on SIGUSR1. When the command ends, everything that descends from it is killed, the end
is written to ``state.json``, and the keeper exits. If the keeper itself is killed, the kernel kills
the command.

It imports little on purpose: there is one of it for each container.
"""

import errno
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # as typing's, whose import would cost each keeper memory
if TYPE_CHECKING:
    import ctypes

ORDER_FD = 0
LOCK_FD = 3
REPORT_FD = 4

STATE_FILE = "state.json"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_READ_BYTES = 65536
_LINE_BYTES = 16384  # longer lines are written in parts, as containerd does
_EXIT_CANNOT_START = 128

_PASSED_ON: dict[int, signal.Signals] = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGKILL,
}


class Log:
    """A container's output as ``<time> <stream> <F|P> <text>`` lines, rotated by size."""

    def __init__(self, path: str, max_bytes: int, max_files: int) -> None:
        self._path, self._max_bytes, self._max_files = path, max_bytes, max_files
        self._fd = -1
        self._size = 0
        self._rest: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._write(b"")  # a log is there from the start, also of who says nothing

    def feed(self, stream: str, data: bytes) -> None:
        """Write the whole lines of ``data``; keep the rest until the line ends or is too long."""
        now = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
        head = f"{stamp}.{now % 10**9:09}Z {stream} ".encode()
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        out = []
        for line in lines:
            while len(line) > _LINE_BYTES:
                out.append(head + b"P " + line[:_LINE_BYTES] + b"\n")
                line = line[_LINE_BYTES:]  # noqa: PLW2901 - what is left of it
            out.append(head + b"F " + line + b"\n")
        while len(rest) >= _LINE_BYTES:
            out.append(head + b"P " + rest[:_LINE_BYTES] + b"\n")
            rest = rest[_LINE_BYTES:]
        self._rest[stream] = rest
        self._write(b"".join(out))

    def finish(self, stream: str) -> None:
        """Write what has no line end, as the part of a line that it is."""
        rest, self._rest[stream] = self._rest[stream], b""
        if rest:
            self.feed(stream, b"")
            now = time.time_ns()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
            self._write(f"{stamp}.{now % 10**9:09}Z {stream} P ".encode() + rest + b"\n")

    def _write(self, data: bytes) -> None:
        # A full disk may not stop the command: its output is lost until there is room again.
        try:
            if self._fd < 0 or self._size + len(data) > self._max_bytes:
                self._open()
            self._size += os.write(self._fd, data)
        except OSError:
            return

    def _open(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            for number in range(self._max_files - 1, 0, -1):
                older = f"{self._path}.{number - 1}" if number > 1 else self._path
                try:
                    os.rename(older, f"{self._path}.{number}")
                except FileNotFoundError:
                    continue
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size


def main(directory: str) -> int:
    """Keep the container in ``directory``; return the exit status of the keeper itself."""
    with os.fdopen(ORDER_FD, "rb", closefd=False) as stream:
        order = json.load(stream)
    for fd in (LOCK_FD, REPORT_FD):
        os.set_inheritable(fd, False)  # noqa: FBT003 - the library's signature
    _become_reaper()
    wakeup, wakeup_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    log = Log(order["log_path"], order["log_bytes"], order["log_files"])
    if not os.read(REPORT_FD, 1):
        return 1
    started_ns = time.time_ns()
    try:
        pid, pipes = _start(order)
    except OSError as error:
        message = f"{error.filename or order['argv'][0]}: {error.strerror}"
        _write_state(
            directory,
            pid=0,
            started_ns=started_ns,
            finished_ns=time.time_ns(),
            exit_code=_EXIT_CANNOT_START,
            reason="StartError",
            message=message,
        )
        _report({"error": message})
        return 1
    del order
    _write_state(directory, pid=pid, started_ns=started_ns)
    _report({"pid": pid})
    status = _watch(pid, pipes, wakeup, log)
    exit_code = os.waitstatus_to_exitcode(status)
    code = exit_code if exit_code >= 0 else 128 - exit_code
    _write_state(
        directory,
        pid=pid,
        started_ns=started_ns,
        finished_ns=time.time_ns(),
        exit_code=code,
        reason="Completed" if code == 0 else "Error",
    )
    return 0


def _libc() -> "ctypes.CDLL":
    # Not at the top: edgecore knows this module for its constants, and does without ctypes.
    import ctypes  # noqa: PLC0415

    return ctypes.CDLL(None, use_errno=True)


def _become_reaper() -> None:
    _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _start(order: dict) -> tuple[int, dict[int, str]]:  # type: ignore[type-arg] # typing would cost each keeper memory
    """Start the command; return its process id and the pipes of its output.

    Raises:
        OSError: it cannot be started; ``filename`` tells what could not be used.
    """
    out, out_writer = os.pipe2(os.O_CLOEXEC)
    err, err_writer = os.pipe2(os.O_CLOEXEC)
    failure, failure_writer = os.pipe2(os.O_CLOEXEC)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _exec(order, keeper, out_writer, err_writer, failure_writer)
    for fd in (out_writer, err_writer, failure_writer):
        os.close(fd)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, ORDER_FD)  # lets go of the order
    os.close(null)
    with os.fdopen(failure, "rb") as stream:
        text = stream.read()
    if text:
        os.waitpid(pid, 0)
        number, _, name = text.decode("utf-8", "replace").partition(" ")
        raise OSError(int(number), os.strerror(int(number)), name)
    for fd in (out, err):
        os.set_blocking(fd, False)
    return pid, {out: "stdout", err: "stderr"}


def _exec(order: dict, keeper: int, out: int, err: int, failure: int) -> None:  # type: ignore[type-arg] # as _start
    """Become the command; never returns."""
    stage = "process"
    try:
        libc = _libc()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)  # the keeper died before the line above
        os.setpgid(0, 0)
        os.umask(0o022)  # as containers have it
        if order["mounts"]:
            stage = "mounts"
            sys.path.insert(0, order["import_path"])
            from edgecore.edged.runtime import mountns  # noqa: PLC0415 - most containers do without

            mountns.enter(libc, order["root"], order["mounts"])
        stage = order["cwd"]
        os.chdir(order["cwd"])
        stage = order["argv"][0]
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        signal.set_wakeup_fd(-1)
        for number in (
            signal.SIGCHLD,
            signal.SIGTERM,
            signal.SIGUSR1,
            signal.SIGHUP,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - no shell, as asked
    except OSError as error:
        if stage == "mounts" and isinstance(error.filename, str):
            stage = error.filename
        os.write(failure, f"{error.errno or errno.EIO} {stage}".encode())
    finally:
        os._exit(1)


def _watch(pid: int, pipes: dict[int, str], wakeup: int, log: Log) -> int:
    """Carry output and signals until the command has ended; return its wait status."""
    poll = select.poll()
    poll.register(wakeup, select.POLLIN)
    for fd in pipes:
        poll.register(fd, select.POLLIN)
    status = None
    while status is None:
        for fd, _ in poll.poll():
            if fd != wakeup:
                if not _pump(fd, pipes[fd], log):
                    poll.unregister(fd)
                continue
            for number in os.read(wakeup, 4096):
                if number in _PASSED_ON:
                    os.kill(pid, _PASSED_ON[number])
            status = _reap(pid)
    _kill_rest()
    for fd, stream in pipes.items():
        while _pump(fd, stream, log):
            pass
        log.finish(stream)
    return status


def _pump(fd: int, stream: str, log: Log) -> bool:
    """Move what is in a pipe to the log; return whether more may come."""
    try:
        data = os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return False
    if data:
        log.feed(stream, data)
    return bool(data)


def _reap(pid: int) -> int | None:
    """Reap whatever ended; return the wait status of ``pid`` if it was among them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == pid:
            found = status


def _kill_rest() -> None:
    """Kill all that descends from the command: its orphans become children of the keeper."""
    while True:
        for child in _children():
            os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """Return the processes whose parent is the keeper."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children") as stream:  # pathlib would cost memory
            return [int(child) for child in stream.read().split()]
    except FileNotFoundError:  # a kernel that was built without that file
        return [int(p) for p in os.listdir("/proc") if p.isdecimal() and _parent(p) == me]


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return 0


def _report(value: dict) -> None:  # type: ignore[type-arg] # as _start
    try:
        os.write(REPORT_FD, json.dumps(value).encode() + b"\n")
    except OSError:  # edgecore went away meanwhile: the next one reads the state file
        return
    finally:
        os.close(REPORT_FD)


def _write_state(directory: str, **state: object) -> None:
    path = f"{directory}/{STATE_FILE}"
    with open(f"{path}.new", "w") as stream:
        json.dump(state, stream)
    os.rename(f"{path}.new", path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
